-- The business application header, of which there is one.
SELECT
    sender_lei,
    receiver_lei,
    message_id,
    created_at
FROM emir_header
WHERE report_date = :business_date
