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

// A Call identifies the work of a [Do].
type Call struct {
	// Principal is the authenticated caller to whom the key belongs. Two principals never see
	// each other's keys. It must not be empty. See [GlobalPrincipal].
	Principal string

	// Key is the caller's key, 1 to 255 bytes of any kind. It should be unpredictable.
	Key string

	// Fingerprint is a hash of everything that is asked for, such as sha256.Sum256(message).
	// A call with the same key and another fingerprint is a conflict. If it is zero in all
	// calls, calls with the same key are the same.
	Fingerprint Fingerprint

	// Codec encodes the value for the store. If nil, encoding/json does.
	Codec Codec
}

// A Codec encodes and decodes the values of a [Do]. Unmarshal gets a pointer to the value.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Do calls f once for each key. If it is called again with the same key and fingerprint
// within the retention, it returns what f returned. It is for work that is not an
// http.Handler: a tool call, an RPC, a queue message or a job.
//
//	call := idempotent.Call{Principal: account, Key: id, Fingerprint: fingerprint}
//	receipt, err := idempotent.Do(ctx, guard, call, func(ctx context.Context) (Receipt, error) {
//		return charge(ctx, order)
//	})
//
// Do records the value if f returns a nil error. It also records an *apierror.Error, a Code
// or a Definition, the service's own included, if [Options].Keep reports true for its status.
// An error that apierror.Parse returned counts as api_error. A later call then returns
// an equal *apierror.Error without the cause. Any other error frees the key, or leaves the
// outcome unknown after [BeginEffect]. With the JSON codec, unexported fields of a value are
// lost. A value that cannot be encoded or is over [Options].MaxResponse is returned once and
// not kept.
//
// A call that does not run f returns an *apierror.Error. Its code is idempotency_conflict,
// idempotency_in_progress, idempotency_outcome_unknown, idempotency_response_unavailable,
// rate_limit_exceeded or service_unavailable. It is parameter_invalid if the key is empty or
// too long, and api_error if the principal is empty or the recorded value cannot be decoded
// as a T. If ctx has ended, or ends while Do waits, Do returns ctx.Err().
//
// Inside f, pass its context to [BeginEffect], [Attempt] and [DerivedKey]. This context ends
// with ctx, and after [Options].MaxRun. If f must go on after its caller has left, pass
// context.WithoutCancel(ctx) to Do.
//
// Do must not be called with the key and fingerprint of a call that it is part of, because it
// would wait for itself.
//
// To settle the record of a Do with a [Resolver], use a [Response] with the status 200 and
// the encoded value as its body.
func Do[T any](ctx context.Context, g *Guard, c Call, f func(context.Context) (T, error)) (T, error) {
	t := &function[T]{f: f, codec: c.Codec}
	if t.codec == nil {
		t.codec = jsonCodec{}
	}
	k := &call{Guard: g, task: t, caller: ctx, started: time.Now()}
	defer func() { g.opt.Observe(ctx, k.event) }()
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

func (t *function[T]) do(k *call, c Call) (T, error) {
	var none T
	if err := c.check(k.caller); err != nil {
		k.event.Outcome = OutcomeRefused
		return none, err
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
		return t.f(k.caller)
	case OutcomeReplayed:
		return t.replay(k, r.response)
	case OutcomeInProgress:
		if k.caller.Err() != nil {
			return none, k.caller.Err()
		}
	}
	return none, r.refusal()
}

// check returns the error of a call that cannot be made.
func (c Call) check(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.Principal == "":
		return internalError(errEmptyPrincipal)
	case c.Key == "" || len(c.Key) > maxKey:
		return apierror.ParameterInvalid("key", "must have 1 to 255 bytes")
	}
	return nil
}

// dropBody implements task. A function has no body.
func (t *function[T]) dropBody() {}

// run implements task. It calls f.
func (t *function[T]) run(n *run) Completion {
	t.value, t.err = t.f(n.ctx)
	if t.err == nil {
		var body []byte
		err := guarded(func() (err error) {
			body, err = t.codec.Marshal(t.value)
			return err
		})
		return n.encoded(http.StatusOK, body, err)
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
	return n.encoded(status, body, err)
}

// encoded returns the completion of a run whose value or error is encoded in body. A status
// of 400 or more marks an error.
func (n *run) encoded(status int, body []byte, err error) Completion {
	n.event.Status = status
	if err != nil { // f has run, and must not run again
		n.warn("idempotent: a value could not be encoded", err)
	}
	if err != nil || n.opt.MaxResponse >= 0 && len(body) > n.opt.MaxResponse {
		return Completion{State: StateNotKept, Response: encodeNotKept(status, "", "")}
	}
	return Completion{State: StateDone, Response: encode(status, "", nil, body)}
}

// replay returns what an earlier call returned.
func (t *function[T]) replay(k *call, response []byte) (T, error) {
	v, recorded, err := t.decode(k, response)
	if err != nil {
		k.event.Outcome = OutcomeStoreFailed
		return *new(T), internalError(fmt.Errorf("idempotent: a recorded value cannot be decoded: %w", err))
	}
	return v, recorded
}

// decode returns the value or the error that was recorded.
func (t *function[T]) decode(k *call, response []byte) (v T, recorded, err error) {
	rec, err := parseRecord(response)
	if err != nil {
		return v, nil, err
	}
	if rec.status >= http.StatusBadRequest {
		e := new(apierror.Error)
		err, recorded = e.UnmarshalBinary(rec.body), e
	} else {
		err = guarded(func() error { return t.codec.Unmarshal(slices.Clone(rec.body), &v) })
	}
	if err == nil {
		k.event.Status = rec.status
	}
	return v, recorded, err
}

// guarded calls a codec. A panic of the codec is returned as an error, because f has run and
// must not run again.
func guarded(op func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("idempotent: the codec panicked: %v", p)
		}
	}()
	return op()
}
