-- With all that sending them needs: the ledger can be rebuilt from the audit.
SELECT
    r.request_id, r.run_id, r.badge, r.earn_event_date, r.customers, s.status,
    r.parent_request_id, r.predecessor_request_id, r.is_canary, r.reserved_at,
    s.reason, r.badge_meta_id, r.reference_id, r.date_text, r.after_request_id,
    r.owner_type, r.succession, r.scheme, r.body_head, r.body_tail
FROM requests AS r
INNER JOIN present_requests AS s ON s.request_id = r.request_id
