-- Trades executed on the business date, with the reference price of their share.
SELECT
    t.trade_id,
    t.trade_date,
    t.executed_at,
    t.isin,
    t.executing_lei,
    t.buyer_lei,
    t.seller_lei,
    t.quantity,
    t.price,
    t.currency,
    t.venue,
    t.venue_transaction_id,
    t.branch_country,
    t.capacity,
    t.decision_algorithm,
    t.execution_algorithm,
    t.short_selling,
    t.post_trade_flag,
    i.reference_price
FROM trades AS t
INNER JOIN instruments AS i ON t.isin = i.isin
WHERE t.trade_date = :business_date
ORDER BY t.trade_id
