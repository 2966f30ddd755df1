// Package idempotent makes writes safe to repeat: a request that comes with an Idempotency-Key runs once, and each repetition
// gets the recorded response of the first.
//
//	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil)
//	http.ListenAndServe(addr, authenticate(keyed(mux)))
//
// A client puts one key on all attempts of one write ("Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324"; see
// draft-ietf-httpapi-idempotency-key-header). Within the retention, 24 hours unless said otherwise, the same key and the same
// request get the same response, with "Idempotent-Replayed: true" and, in Original-Request, the id of the request that ran.
// The same key with a different request is a mistake of the client and gets 409 idempotency_conflict, at once. While the
// first still runs, repetitions wait for it.
//
// # What is guaranteed
//
// The recorded answer is one, whatever fails. How often the handler's effects happen depends on where they are:
//
//   - In the same transaction as the record, with a store that is an [Executor]: exactly once.
//   - Elsewhere, behind [BeginEffect]: at most once. What fails after it is answered 409 idempotency_outcome_unknown, until
//     a [Resolver] settles it. [Options].AtMostOnce says so for a whole route.
//   - Elsewhere, without it: once, but for a crash, a panic, a lost lease or a 5xx, after which a retry runs again.
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
// When the other side takes an idempotency key itself, give it [DerivedKey], which is the same in every attempt; then it is its
// guarantee that counts, and BeginEffect is not needed. docs/SEMANTICS.md tells, fault by fault, what a client sees.
//
// # Whose key it is
//
// A key belongs to a principal, which the [ScopeFunc] names; two principals never see each other's. [ByPrincipal] takes the
// one that the service's authentication has put into the request. The middleware therefore goes behind authentication, and
// behind rate limits, so that their refusals are never taken for a key's answer. [Global] shares the keys of all callers.
//
// # What is recorded
//
// The handler writes into a buffer. When it has returned, its response is recorded, and then sent, by the same code that
// sends replays. Status, body and header are kept, multi-valued fields line by line; not kept are Set-Cookie, Date,
// hop-by-hop fields, trailers, request ids, Access-Control-* and RateLimit*, which belong to one request, nor anything that
// outer layers have set. Flush does nothing, connections cannot be hijacked, and informational (1xx) responses pass.
//
// 5xx, 401, 403, 408, 425 and 429 free the key instead ([Options].Keep). Those who waited for such a response get 503,
// rather than run one after another what fails. A response over [Options].MaxResponse, and one that the handler chose to
// [Stream], goes to the client whole, and the record says no more than that it ran: a repetition gets 409
// idempotency_response_unavailable, with the Location if there was one.
//
// # The handler's context
//
// A handler with a key does not notice that its client goes away, so that the client's retry finds the answer; the deadline
// that the chain has set is kept ([Options].CancelOnDisconnect). When another process has taken over, or may have, because
// the lease could not be renewed, its context is cancelled with [ErrLeaseLost] as the cause.
//
// # Stores
//
// [Memory] serves one process. Several processes need a [Store] that they share. Writing one is four atomic operations;
// docs/STORE_GUIDE.md is the guide, and package idempotenttest the test. In front of any store, repetitions that reach the
// same process ask it once.
//
// # Cost
//
// With [Memory], a replay of 1 KiB takes 5 allocations and a first run 16; a record takes about 512 bytes and its response. A
// request with a key holds its body (at most [Options].MaxBody) and its response (at most MaxResponse) in memory; those who
// wait for one request hold its body once.
package idempotent
