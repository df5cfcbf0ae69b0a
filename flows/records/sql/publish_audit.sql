-- One row per award, as people read it: of those whose state is given.
SELECT
    a.award_id, a.import_name, a.badge, a.badge_meta_id, a.badge_name, a.reference_id,
    a.series, a.customer_id, a.occurrence, a.generation, a.source,
    a.source_customer_id, a.rule_kind, a.measure, a.threshold,
    a.evidence_activity_id, a.qualified_at, a.earn_event_date, a.earn_day,
    CASE s.status WHEN 'released' THEN 'revoked' ELSE s.status END AS status,
    s.proof, s.earned_badge_id, s.badge_status, s.expires_on, s.error_code,
    s.error_message, s.request_id, s.attempt_count, a.planned_run_id,
    CASE WHEN s.status IN ('planned', 'sent', 'unknown') THEN NULL
        ELSE s.settled_run_id END AS settled_run_id,
    a.planned_at, s.sent_at,
    CASE WHEN s.status IN ('planned', 'sent', 'unknown') THEN NULL
        ELSE s.changed_at END AS settled_at,
    a.target, a.rule_digest, s.status = 'released' AS is_released
FROM awards AS a
INNER JOIN present_awards AS s ON s.award_id = a.award_id
WHERE s.status <> 'withdrawn'
