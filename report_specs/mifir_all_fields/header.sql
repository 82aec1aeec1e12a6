-- The business application header, of which there is one.
SELECT
    sender_lei,
    receiver,
    message_id,
    created_at
FROM rts22_header
WHERE report_date = :business_date
