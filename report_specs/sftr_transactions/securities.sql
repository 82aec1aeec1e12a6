SELECT
    uti,
    purpose,
    isin,
    cfi,
    quantity,
    nominal_currency,
    nominal,
    market_value_currency,
    market_value,
    quality,
    security_maturity_date,
    exclusive,
    reusable,
    haircut
FROM sftr_securities
WHERE report_date = :business_date
ORDER BY position
