package main

// recordQuery returns the SQL that shows the record of a key, without the response. The ID depends
// on the service's options. See docs/POSTGRES.md.
func recordQuery(account, idempotencyKey string) string {
	id := transferKeys.ID(account, idempotencyKey)
	return `SELECT state, attempt, effect, claimed_at, expires_at, octet_length(response)
   FROM idempotency_records WHERE id = '\x` + id.String() + `'`
}
