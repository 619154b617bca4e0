SELECT * EXCEPT (recency)
FROM (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY change_committed_at DESC, change_sequence DESC, IF(status = 'tombstone', 1, 0) DESC, scored_at DESC, score_id) AS recency
  FROM `{dataset}.account_scores`
  WHERE scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 400 DAY) AND shadow IS NOT TRUE
)
WHERE recency = 1 AND status = 'scored'
