-- Trades of earlier days, reported already, that were cancelled on the business date.
SELECT
    c.trade_id,
    t.executing_lei
FROM cancellations AS c
INNER JOIN trades AS t ON c.trade_id = t.trade_id
WHERE c.cancelled_on = :business_date AND t.trade_date < :business_date
ORDER BY c.trade_id
