-- Positions at the end of the business date.
SELECT
    p.position_date,
    p.account,
    p.isin,
    i.name AS instrument,
    p.quantity,
    p.price,
    p.market_value,
    p.currency
FROM positions AS p
INNER JOIN instruments AS i ON p.isin = i.isin
WHERE p.position_date = :business_date
ORDER BY p.account, p.isin
