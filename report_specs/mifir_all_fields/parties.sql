-- Buyers, sellers and who decides for them.
SELECT
    transaction_id,
    side,
    role,
    lei,
    mic,
    aggregated,
    first_name,
    surname,
    birth_date,
    person_id,
    id_scheme,
    branch_country
FROM rts22_parties
WHERE report_date = :business_date
ORDER BY transaction_id, side, role, position
