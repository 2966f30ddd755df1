/*
Package idempotent makes writes safe to retry: a request with an Idempotency-Key
runs once, and a retry gets the recorded response.

	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil)
	http.ListenAndServe(addr, authenticate(keyed(mux)))

A client sends the same key with all attempts of one write
(draft-ietf-httpapi-idempotency-key-header). Within the retention, 24 hours by default, a
retry with the same key and request gets the recorded response. It also gets the fields
"Idempotent-Replayed: true" and Original-Request, the id of the request that ran. The same
key with a different request is answered 409 idempotency_conflict. Duplicates that arrive
while the first request runs wait for it.

[Do] does the same for an RPC, a tool call, a queue message or a job.

# Guarantees

At most one response is recorded for a key. Once it is recorded, every retry gets this
response or an error, whatever fails. How often the effects of a handler happen depends on
where they are:

  - in the same transaction as the record, with an [Executor]: exactly once
  - elsewhere, after [BeginEffect]: at most once. After a failure, a retry gets
    409 idempotency_outcome_unknown until a [Resolver] settles the record.
  - elsewhere, without BeginEffect: once, unless a retry runs again after a crash, a
    panic, a lost lease or a 5xx

So call BeginEffect right before a charge, an email or a transfer:

	if err := idempotent.BeginEffect(r.Context()); err != nil {
		return err
	}
	receipt, err := bank.Charge(r.Context(), amount)

If the other service takes idempotency keys, pass it a [DerivedKey] and leave out
BeginEffect: the other service prevents a second charge, and a retry can run. See
docs/SEMANTICS.md for every fault.

# Principals

A key belongs to the principal that the [ScopeFunc] returns, and principals never
see each other's keys. Put the middleware inside of authentication and rate limits,
so that their refusals are not recorded.

# Responses

The response is sent after the handler has returned and the response is recorded: its
status, its body and what the handler changed in the header. Fields that belong to one
request or one connection, such as Set-Cookie, Date and request ids, are never recorded:
docs/KEYED_HANDLERS.md lists them.

A 5xx, 401, 403, 408, 425 or 429 frees the key instead, unless BeginEffect was called (see
[DefaultKeep]). [Forget] frees it in any case. A response over [Options].MaxResponse, or
sent with [Stream], is not kept: a retry gets 409 idempotency_response_unavailable.

A client that leaves does not interrupt the handler, so that its retry finds the response.
docs/KEYED_HANDLERS.md lists everything that a key changes for a handler.

# Stores

[Memory] serves one process. Several processes need a [Store] that they share. Module
idempotent/redisstore has one in Redis. Modules idempotent/pgstore and idempotent/sqlstore
have them in databases, where the record can be a part of the handler's transaction. A
Store has four atomic operations. See docs/STORE_GUIDE.md and package idempotenttest.
*/
package idempotent
