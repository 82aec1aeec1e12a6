-- The instruments and indices of baskets.
SELECT
    transaction_id,
    place,
    isin,
    index_isin,
    index_code,
    index_name,
    term_unit,
    term_value
FROM rts22_basket_members
WHERE report_date = :business_date
ORDER BY transaction_id, place, position
