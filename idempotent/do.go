package idempotent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// A Call names what a [Do] does.
type Call struct {
	// Principal is whose key it is: two principals never see each other's keys. It must not be what
	// the caller merely claims. Empty is a mistake, see [GlobalPrincipal].
	Principal string
	// Key is the caller's, at most 255 bytes of any kind. It should be unpredictable.
	Key string
	// Fingerprint tells this call from a different one with the same key. It is made of all that
	// says what is asked for, such as Fingerprint(sha256.Sum256(message)). If zero, the key alone
	// says it.
	Fingerprint Fingerprint
	// Codec encodes the value for the store. If nil, it is encoding/json.
	Codec Codec
}

// A Codec encodes and decodes the values of a [Do]. Unmarshal is given a pointer to the value.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Do calls f once for a key, and returns what it returned each time that it is called with the
// same key and fingerprint within the retention. It is for what is not an http.Handler: a tool
// call, an RPC, a message of a queue, a job.
//
//	call := idempotent.Call{Principal: account, Key: id, Fingerprint: fingerprint}
//	receipt, err := idempotent.Do(ctx, guard, call, func(ctx context.Context) (Receipt, error) {
//		return charge(ctx, order)
//	})
//
// What is recorded is the value of a nil error, and an error with a code of package apierror
// whose status [Options].Keep keeps: it comes back as an equal *apierror.Error, without its
// cause. Any other error of f is returned, and frees the key, or leaves the outcome unknown
// after [BeginEffect]. Both come back from the store as they were encoded: with JSON, unexported
// fields of a value are lost. A value that cannot be encoded, or is over [Options].MaxResponse,
// is returned once and not kept.
//
// A value of another type than T that was recorded for the key cannot be decoded: api_error. To
// resolve the record of a Do ([Resolver]), give it a [Response] with the status 200 and what the
// codec makes of the value as its body.
//
// A call that did not run returns the errors of the middleware, which are told apart by
// apierror.CodeOf: idempotency_conflict, idempotency_in_progress, idempotency_outcome_unknown,
// idempotency_response_unavailable, rate_limit_exceeded, service_unavailable. If ctx ends before
// that is known, Do returns ctx.Err().
//
// Within a request with a key, use another key or fingerprint than the request's own: the call
// would wait for itself.
//
// The context of f is ctx with [Options].MaxRun as its longest deadline, and is for
// [BeginEffect], [Attempt] and [DerivedKey]. A canceled ctx cancels it: use
// context.WithoutCancel for work that is to end although its caller has left.
func Do[T any](ctx context.Context, g *Guard, c Call, f func(context.Context) (T, error)) (T, error) {
	t := &function[T]{f: f, codec: c.Codec}
	if t.codec == nil {
		t.codec = jsonCodec{}
	}
	k := &call{Guard: g, task: t, caller: ctx}
	if g.opt.Observe != nil {
		k.started = time.Now()
		defer func() { g.opt.Observe(ctx, k.event) }()
	}
	v, err := t.do(k, c)
	if err != nil {
		k.event.Err = err
	}
	return v, err
}

// function is the task of a Do.
type function[T any] struct {
	f     func(context.Context) (T, error)
	codec Codec
	value T
	err   error
}

// dropBody implements task. There is none.
func (t *function[T]) dropBody() {}

func (t *function[T]) do(k *call, c Call) (T, error) {
	var none T
	switch {
	case k.caller.Err() != nil: // no one needs the answer
		k.event.Outcome = OutcomeRefused
		return none, k.caller.Err()
	case c.Principal == "":
		k.event.Outcome = OutcomeRefused
		return none, apierror.CodeAPIError.New().WithCause(errEmptyPrincipal)
	case c.Key == "" || len(c.Key) > maxKey:
		k.event.Outcome = OutcomeRefused
		return none, apierror.ParameterInvalid("key", "must have 1 to 255 bytes")
	}
	k.identify(c.Principal, c.Key, c.Fingerprint)
	r := k.do()
	k.event.Outcome, k.event.Err = r.outcome, r.err
	switch r.outcome {
	case OutcomeExecuted, OutcomeNotKept, OutcomeReleased, OutcomeUnknown, OutcomeUnrecorded:
		if r.answer != nil {
			return none, r.answer
		}
		return t.value, t.err
	case OutcomeBypassed:
		k.stampWaited()
		return t.f(k.caller)
	}
	if k.ran == nil {
		k.stampWaited()
	}
	switch {
	case r.outcome == OutcomeReplayed:
		return t.replay(k, r.response)
	case r.outcome == OutcomeInProgress && k.caller.Err() != nil:
		return none, k.caller.Err()
	default:
		return none, r.refusal()
	}
}

// run implements task.
func (t *function[T]) run(n *run) Completion {
	t.value, t.err = t.f(&n.ctx)
	if t.err == nil {
		var body []byte
		err := guarded(func() (err error) {
			body, err = t.codec.Marshal(t.value)
			return err
		})
		return n.encode(http.StatusOK, body, err)
	}
	e := apierror.From(t.err)
	status := e.Status()
	if status < 400 || status > 599 { // as package apierror writes it
		status = http.StatusInternalServerError
	}
	if apierror.CodeOf(t.err) == "" || !n.opt.Keep(status) {
		n.event.Status = status
		return Completion{State: StateAbsent}
	}
	body, err := e.MarshalBinary()
	return n.encode(status, body, err)
}

// encode returns the completion of a run with an encoded value or error. A status of 400 or more
// says that it is an error.
func (n *run) encode(status int, body []byte, err error) Completion {
	n.event.Status = status
	if err != nil { // it ran, and cannot be said again
		n.warn("idempotent: a value could not be encoded", err)
	}
	if err != nil || n.opt.MaxResponse >= 0 && len(body) > n.opt.MaxResponse {
		return Completion{State: StateNotKept, Response: encodeNotKept(status, "", "")}
	}
	return Completion{State: StateDone, Response: encode(status, "", headerChange{}, body)}
}

// replay returns what an earlier call returned.
func (t *function[T]) replay(k *call, response []byte) (T, error) {
	var (
		v T
		e *apierror.Error
	)
	rec, err := parseRecord(response)
	switch {
	case err != nil:
	case rec.status >= http.StatusBadRequest:
		e = new(apierror.Error)
		err = e.UnmarshalBinary(rec.body)
	default:
		err = guarded(func() error { return t.codec.Unmarshal(slices.Clone(rec.body), &v) })
	}
	switch {
	case err != nil:
		k.event.Outcome = OutcomeStoreFailed
		return *new(T), apierror.CodeAPIError.New().WithCause(fmt.Errorf("idempotent: a recorded value cannot be decoded: %w", err))
	case e != nil:
		k.event.Status = rec.status
		return v, e
	default:
		k.event.Status = rec.status
		return v, nil
	}
}

// guarded calls a codec. One that panics has failed: the value is there, and f must not run again.
func guarded(op func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("idempotent: the codec panicked: %v", p)
		}
	}()
	return op()
}
