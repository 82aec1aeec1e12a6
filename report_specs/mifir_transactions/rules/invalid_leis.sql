-- LEIs that are missing, have a wrong shape or wrong check digits. ISO 17442 takes ISO 7064's
-- mod 97-10: with letters as the numbers 10 to 35, the whole leaves 1 when divided by 97.
WITH parties AS (
    SELECT transaction_id, 'executing' AS role, executing_lei AS lei FROM transactions
    UNION ALL
    SELECT transaction_id, 'submitting', submitting_lei FROM transactions
    UNION ALL
    SELECT transaction_id, 'buyer', buyer_lei FROM transactions WHERE action = 'NEW'
    UNION ALL
    SELECT transaction_id, 'seller', seller_lei FROM transactions WHERE action = 'NEW'
),

remainders AS (
    SELECT
        lei,
        list_reduce(
            list_transform(
                string_split(lei, ''),
                lambda c: strpos('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', c) - 1
            ),
            lambda total, digit: (total * CASE WHEN digit < 10 THEN 10 ELSE 100 END + digit) % 97,
            0
        ) AS remainder
    FROM (SELECT DISTINCT lei FROM parties WHERE regexp_full_match(lei, '[A-Z0-9]{18}[0-9]{2}'))
)

SELECT
    parties.transaction_id,
    parties.role,
    parties.lei
FROM parties
LEFT JOIN remainders ON parties.lei = remainders.lei
WHERE remainders.remainder IS DISTINCT FROM 1
