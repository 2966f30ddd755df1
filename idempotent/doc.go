// Package idempotent makes writes safe to repeat: a request with an Idempotency-Key runs once,
// and a retry gets the recorded response of the first one.
//
//	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil)
//	http.ListenAndServe(addr, authenticate(keyed(mux)))
//
// A client puts the same key on all attempts of one write ("Idempotency-Key:
// 8e03978e-40d5-43dd-bc93-6894a57f9324"; see draft-ietf-httpapi-idempotency-key-header). Within
// the retention, 24 hours by default, the same key and the same request get the same response,
// with "Idempotent-Replayed: true" and, in Original-Request, the id of the request that ran. The
// same key with a different request is the client's mistake and is answered 409
// idempotency_conflict, immediately. Duplicates that come while the first one runs wait for it.
//
// [Do] is the same protocol for what is not an http.Handler: a tool call, an RPC, a message of a
// queue.
//
// # What is guaranteed
//
// There is one recorded answer, whatever fails. How often the effects of a handler happen
// depends on where they are:
//
//   - In the same transaction as the record, with a store that is an [Executor]: exactly once.
//   - Elsewhere, after [BeginEffect]: at most once. A failure after it is answered 409
//     idempotency_outcome_unknown until a [Resolver] settles it. [Options].AtMostOnce says so
//     for all requests.
//   - Elsewhere, without it: once, except after a crash, a panic, a lost lease or a 5xx, when a
//     retry runs again.
//
// So one line belongs in front of the charge, the mail, the transfer:
//
//	func charge(w http.ResponseWriter, r *http.Request) error {
//		... // what can be repeated: read, check, reserve
//		if err := idempotent.BeginEffect(r.Context()); err != nil {
//			return err
//		}
//		receipt, err := bank.Charge(ctx, amount, idempotent.DerivedKey(r.Context(), "charge"))
//		...
//	}
//
// If the other side takes an idempotency key itself, give it [DerivedKey], which is the same in
// every attempt. Then its guarantee counts, and BeginEffect is not needed. docs/SEMANTICS.md
// says what a client sees, fault by fault.
//
// # Whose key it is
//
// A key belongs to a principal, which the [ScopeFunc] names. Two principals never see each
// other's keys. [ByPrincipal] takes the one that the service's authentication has put into the
// request. So the middleware belongs behind authentication, and behind rate limits, so that
// their refusals are never a key's answer. [Global] shares the keys of all callers.
//
// What a router answers by itself (a redirect, 404, 405) is no key's answer either. [New] knows
// that of a *http.ServeMux and of seawall.NotFound. Put it inside of another router, around its
// handlers.
//
// # What is recorded
//
// The response is held back until the handler has returned, then recorded, then sent. What a
// replay repeats is the status, the body, and what the handler has changed of the header that
// outer layers had set: fields that it set, added to or removed, multi-valued ones line by line.
// It does not repeat Set-Cookie, Date, Content-Length (a replay has its own), hop-by-hop fields,
// trailers, request ids, Access-Control-*, RateLimit* and the fields of [Options].OmitFields.
//
// 5xx, 401, 403, 408, 425 and 429 free the key instead ([Options].Keep), and so does [Forget].
// Duplicates that waited for such a response are answered 503, so that they do not run one after
// another what fails. A response over [Options].MaxResponse, and one that the handler chose to
// [Stream], goes to the first client whole, and is not kept: a retry is answered 409
// idempotency_response_unavailable, with the Location if there was one.
//
// # What changes for a handler
//
// A handler with a key sees the same headers and can write the same response as without one. It
// does not notice that its client leaves, so that the client's retry finds the answer. Its
// context ends with the deadline that the chain has set, with [Options].MaxRun ([ErrMaxRun]),
// with the server's base context if that has a cause, and with [ErrLeaseLost] if another process
// has taken over or may have. docs/KEYED_HANDLERS.md lists all that is different.
//
// # Stores
//
// [Memory] serves one process. Several processes need a [Store] that they share. It is four
// atomic operations: docs/STORE_GUIDE.md is the guide, and package idempotenttest the test. In
// front of any store, duplicates that reach the same process ask it once.
//
// # Cost
//
// With [Memory], a replay of 1 KiB takes 7 allocations and a first run 29. A record takes about
// 512 bytes and its response. A request with a key holds its body (at most [Options].MaxBody)
// and its response (at most MaxResponse) in memory. A duplicate that waits holds neither.
package idempotent
