-- The contexts of accounts that the CRM mirror has, one row an account. {crm} is project.dataset; values are bound as
-- parameters. Each table is filtered on its partition column, and its rows per account are limited.
WITH
  recent_opportunities AS (
    SELECT o.account_id, ARRAY_AGG(o ORDER BY o.modified_at DESC, o.opportunity_id LIMIT {opportunities}) AS records
    FROM `{crm}.opportunities` AS o
    WHERE o.account_id IN UNNEST(@account_ids) AND o.modified_at BETWEEN @since AND @until
    GROUP BY o.account_id
  ),
  recent_emails AS (
    SELECT e.account_id, ARRAY_AGG(e ORDER BY e.sent_at DESC, e.email_id LIMIT {emails}) AS records
    FROM `{crm}.emails` AS e
    WHERE e.account_id IN UNNEST(@account_ids) AND e.sent_at BETWEEN @since AND @until
    GROUP BY e.account_id
  ),
  recent_calls AS (
    SELECT c.account_id, ARRAY_AGG(c ORDER BY c.started_at DESC, c.call_id LIMIT {calls}) AS records
    FROM `{crm}.calls` AS c
    WHERE c.account_id IN UNNEST(@account_ids) AND c.started_at BETWEEN @since AND @until
    GROUP BY c.account_id
  )
SELECT
  a AS profile,
  recent_opportunities.records AS opportunities,
  recent_emails.records AS emails,
  recent_calls.records AS calls
FROM `{crm}.accounts` AS a
LEFT JOIN recent_opportunities ON recent_opportunities.account_id = a.account_id
LEFT JOIN recent_emails ON recent_emails.account_id = a.account_id
LEFT JOIN recent_calls ON recent_calls.account_id = a.account_id
WHERE a.account_id IN UNNEST(@account_ids)
