-- Waivers and post-trade flags.
SELECT
    transaction_id,
    kind,
    code
FROM rts22_flags
WHERE report_date = :business_date
ORDER BY transaction_id, kind, position
