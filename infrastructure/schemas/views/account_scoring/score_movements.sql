WITH
  scores AS (
    SELECT * EXCEPT (copy)
    FROM (
      SELECT *, ROW_NUMBER() OVER (PARTITION BY account_id, score_id ORDER BY scored_at DESC) AS copy
      FROM `{dataset}.account_scores`
      WHERE scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 400 DAY) AND shadow IS NOT TRUE
    )
    WHERE copy = 1
  ),
  pairs AS (
    SELECT
      *,
      LAG(score_id) OVER before AS previous_score_id,
      LAG(status) OVER before AS previous_status,
      LAG(score) OVER before AS previous_score,
      LAG(tier) OVER before AS previous_tier,
      LAG(scored_at) OVER before AS previous_scored_at,
      LAG(model) OVER before AS previous_model,
      LAG(model_version) OVER before AS previous_model_version,
      LAG(prompt_version) OVER before AS previous_prompt_version,
      LAG(context_hash) OVER before AS previous_context_hash
    FROM scores
    WINDOW before AS (PARTITION BY account_id ORDER BY change_committed_at, change_sequence, IF(status = 'tombstone', 1, 0), scored_at, score_id DESC)
  )
SELECT
  account_id, score_id, previous_score_id, scored_at, previous_scored_at, change_committed_at, change_sequence,
  event_ids, status, score, previous_score, score - previous_score AS difference, tier, previous_tier, confidence,
  CASE
    WHEN status = 'tombstone' THEN 'deleted'
    WHEN previous_score_id IS NULL THEN 'first_score'
    WHEN previous_status = 'tombstone' THEN 'revived'
    WHEN prompt_version IS DISTINCT FROM previous_prompt_version THEN 'prompt'
    WHEN model IS DISTINCT FROM previous_model THEN 'model'
    WHEN context_hash IS DISTINCT FROM previous_context_hash THEN 'facts'
    WHEN model_version IS DISTINCT FROM previous_model_version THEN 'model_version'
    ELSE 'nothing'
  END AS cause,
  changed_fields, drivers, summary, model, previous_model, model_version, previous_model_version, prompt_version,
  previous_prompt_version, pipeline_version, trace_id
FROM pairs
