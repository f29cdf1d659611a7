-- Usage net of reversals, each at its own moment: what invoices bill and exports list.
create or replace view billing_usagenet as
  select request_id, occurred_at, org_id, project_id, key_id, model, provider, price_version_id, 1 as calls,
    input, cached_input, cache_write, output, reasoning, image, audio_input, audio_output, embedding,
    request, evidence, outcome, amount_nanos, ledger_txn_id, first_token_ms, duration_ms,
    cache_percent
  from billing_usageevent
  union all
  select request_id, reversed_at, org_id, project_id, key_id, model, provider, price_version_id, -1, -input,
    -cached_input, -cache_write, -output, -reasoning, -image, -audio_input, -audio_output, -embedding,
    -request, 'counted', 'reversed', -amount_nanos, ledger_txn_id, null, null,
    cache_percent
  from billing_usagereversal;
