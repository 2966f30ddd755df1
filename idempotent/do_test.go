package idempotent_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

type gobCodec struct{}

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

type receipt struct {
	ID     string
	Amount int64
	Lines  []string
	Tags   map[string]string
	Parent *receipt
	Paid   time.Time
}

func TestDoReturnsTheSameValueAgain(t *testing.T) {
	t.Parallel()
	full := receipt{
		ID: "r1", Amount: math.MaxInt64, Lines: []string{"a", "", "ü\x00"}, Tags: map[string]string{"k": "v"},
		Parent: &receipt{ID: "r0"}, Paid: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
	t.Run("struct", returnsAgain(nil, full))
	t.Run("zero struct", returnsAgain(nil, receipt{}))
	t.Run("pointer", returnsAgain(nil, &full))
	t.Run("nil pointer", returnsAgain[*receipt](nil, nil))
	t.Run("slice", returnsAgain(nil, []receipt{full, {}}))
	t.Run("empty slice", returnsAgain(nil, []string{}))
	t.Run("nil slice", returnsAgain[[]string](nil, nil))
	t.Run("nil map", returnsAgain[map[string]int](nil, nil))
	t.Run("bytes", returnsAgain(nil, []byte{0, 1, 0xff}))
	t.Run("nil bytes", returnsAgain[[]byte](nil, nil))
	t.Run("string", returnsAgain(nil, "<&>\u2028"))
	t.Run("empty string", returnsAgain(nil, ""))
	t.Run("zero number", returnsAgain(nil, 0))
	t.Run("large number", returnsAgain(nil, uint64(math.MaxUint64)))
	t.Run("nil any", returnsAgain[any](nil, nil))
	t.Run("nothing", returnsAgain(nil, struct{}{}))
	t.Run("error object as a value", returnsAgain(nil, map[string]string{"Code": "card_declined"}))
	t.Run("gob struct", returnsAgain(gobCodec{}, full))
	t.Run("gob zero struct", returnsAgain(gobCodec{}, receipt{}))
	t.Run("gob float", returnsAgain(gobCodec{}, math.Inf(-1)))
}

// returnsAgain checks that a Do returns v each time.
func returnsAgain[T any](c idempotent.Codec, v T) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		var events eventLog
		g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe})
		call := callOf("k")
		call.Codec = c
		for i := range 3 {
			got, err := idempotent.Do(t.Context(), g, call, func(context.Context) (T, error) {
				require.Zero(t, i, "a replay runs nothing")
				return v, nil
			})
			require.NoError(t, err)
			require.Equal(t, v, got)
		}
		events.require(t, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed, idempotent.OutcomeReplayed)
		for _, e := range events.events {
			require.Equal(t, http.StatusOK, e.Status)
			require.NoError(t, e.Err)
		}
	}
}

// brokenCodec is a codec of strings whose methods fail if their functions are set.
type brokenCodec struct {
	marshal, unmarshal func() error
}

func (c brokenCodec) Marshal(v any) ([]byte, error) {
	if c.marshal != nil {
		return nil, c.marshal()
	}
	return fmt.Append(nil, v), nil
}

func (c brokenCodec) Unmarshal(data []byte, v any) error {
	if c.unmarshal != nil {
		*v.(*string) = "half"
		return c.unmarshal()
	}
	*v.(*string) = string(data)
	return nil
}

func TestDoWithACodecThatFails(t *testing.T) {
	t.Parallel()
	ends := map[string]func() error{
		"error": func() error { return errDown },
		"panic": func() error { panic("a bug of the codec") },
	}
	for name, end := range ends {
		t.Run("Marshal "+name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			var w work
			g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe})
			c := callOf("k")
			c.Codec = brokenCodec{marshal: end}

			v, err := idempotent.Do(t.Context(), g, c, w.run)
			require.NoError(t, err)
			require.Equal(t, "run 1", v, "the first caller gets its value")
			v, err = idempotent.Do(t.Context(), g, c, w.run)
			require.Equal(t, apierror.CodeIdempotencyResponseUnavailable, apierror.CodeOf(err))
			require.Empty(t, v)
			require.Equal(t, 1, w.runs)
			events.require(t, idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable)
		})
		t.Run("Unmarshal "+name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			var w work
			g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe})
			c := callOf("k")
			_, err := idempotent.Do(t.Context(), g, c, w.run)
			require.NoError(t, err)

			c.Codec = brokenCodec{unmarshal: end}
			v, err := idempotent.Do(t.Context(), g, c, w.run)

			require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(err))
			require.Empty(t, v)
			require.Equal(t, 1, w.runs)
			events.require(t, idempotent.OutcomeExecuted, idempotent.OutcomeStoreFailed)
			require.Zero(t, events.events[1].Status)
			require.ErrorIs(t, events.events[1].Err, err)
		})
	}
}

func TestDoWithADamagedRecord(t *testing.T) {
	t.Parallel()
	records := map[string][]byte{
		"garbage":       []byte("garbage garbage"),
		"another type":  encode(idempotent.Response{Status: 200, Body: []byte(`{"a":1}`)}),
		"no error":      encode(idempotent.Response{Status: 402, Body: []byte(`Payment required`)}),
		"half an error": encode(idempotent.Response{Status: 402, Body: []byte(`{"Code":"card_`)}),
	}
	for name, record := range records {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			var w work
			g := idempotent.NewGuard(damaged{memory(), record}, &idempotent.Options{Observe: events.observe})
			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.NoError(t, err)

			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)

			require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(err))
			require.Empty(t, v)
			require.Equal(t, 1, w.runs)
			require.Equal(t, idempotent.OutcomeStoreFailed, events.outcomes()[1])
		})
	}
}

type rawCodec struct{ panics bool }

func (c rawCodec) Marshal(v any) ([]byte, error) {
	if c.panics {
		panic("codec")
	}
	return v.([]byte), nil
}

func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

func TestDamagedRecordIsNotGivenToACodec(t *testing.T) {
	t.Parallel()
	g := idempotent.NewGuard(damaged{memory(), []byte("garbage garbage")}, nil)
	c := callOf("k")
	c.Codec = rawCodec{}
	for again := range 2 {
		_, err := idempotent.Do(t.Context(), g, c, func(context.Context) ([]byte, error) { return []byte("v"), nil })
		require.Equal(t, again == 1, apierror.CodeOf(err) == apierror.CodeAPIError)
	}
}

func TestCodecCannotChangeTheRecord(t *testing.T) {
	t.Parallel()
	g := idempotent.NewGuard(memory(), nil)
	do := func() ([]byte, error) {
		return idempotent.Do(t.Context(), g, idempotent.Call{Principal: "p", Key: "k", Codec: rawCodec{}},
			func(context.Context) ([]byte, error) { return []byte("hello"), nil })
	}
	_, err := do()
	require.NoError(t, err)
	v, err := do()
	require.NoError(t, err)
	v[0] = 'X'
	v, err = do()
	require.NoError(t, err)
	require.Equal(t, "hello", string(v))
}

var cardDeclined = apierror.Definition{
	Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined.",
}

// keptErrors returns errors that are recorded.
func keptErrors() map[string]error {
	errs := map[string]error{
		"definition":         cardDeclined,
		"definition pointer": &cardDeclined,
		"code":               apierror.CodeParameterMissing,
		"everything": cardDeclined.Messagef("The card %q was declined.", "ü<&>").WithParam("card[0]").
			WithMetadata("decline", "stolen").WithMetadata("empty", "").
			WithField(apierror.Field{Code: "card_expired", Param: "exp", Message: "It has expired."}).
			WithHeader("Location", "/v1/cards/1").WithHeader("X-Two", "a").WithHeader("X-Two", "b").
			WithRetryAfter(1500 * time.Millisecond).WithCause(errors.New("SECRET of the bank")),
		"not retryable": apierror.Definition{Code: "odd", Type: apierror.TypeAPI, Status: 422, Message: "Odd."}.New().WithNotRetryable(),
		"highest":       apierror.Definition{Code: "last", Type: apierror.TypeInvalidRequest, Status: 499, Message: "Last."}.New(),
		"lowest":        apierror.Definition{Code: "first", Type: apierror.TypeInvalidRequest, Status: 400, Message: "First."}.New(),
		"wrapped":       fmt.Errorf("charge: %w", fmt.Errorf("bank: %w", cardDeclined.New().WithParam("card"))),
		"joined":        errors.Join(io.EOF, cardDeclined.New()),
		"parameters":    errors.Join(apierror.ParameterMissing("a"), apierror.ParameterInvalid("b", "must be even")),
	}
	for _, d := range apierror.DefaultCatalog().Definitions() {
		if idempotent.DefaultKeep(d.Status) {
			errs["built-in "+string(d.Code)] = d.New()
		}
	}
	return errs
}

func TestDoReturnsAnEqualErrorAgain(t *testing.T) {
	t.Parallel()
	for name, kept := range keptErrors() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe})
			w := fails(kept)
			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.True(t, reflect.DeepEqual(kept, err), "the first caller gets the error with its cause")

			for range 2 {
				_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
				require.Equal(t, error(apierror.From(kept).WithCause(nil)), err)
			}
			require.Equal(t, 1, w.runs)
			events.require(t, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed, idempotent.OutcomeReplayed)
			for _, e := range events.events {
				require.Equal(t, apierror.From(kept).Status(), e.Status)
				require.Equal(t, apierror.CodeOf(kept), apierror.CodeOf(e.Err))
			}
		})
	}
}

// otherErrors returns errors that are not recorded.
func otherErrors(t *testing.T) map[string]error {
	t.Helper()
	body := `{"error":{"code":"card_declined","type":"invalid_request_error","message":"No."}}`
	theirs := apierror.Parse(&http.Response{
		StatusCode: 402, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	})
	require.Equal(t, apierror.Code("card_declined"), apierror.CodeOf(theirs))
	odd := func(status int) error {
		return apierror.Definition{Code: "odd", Type: apierror.TypeInvalidRequest, Status: status, Message: "Odd."}.New()
	}
	errs := map[string]error{
		"plain":                    io.ErrUnexpectedEOF,
		"canceled":                 context.Canceled,
		"deadline":                 fmt.Errorf("bank: %w", context.DeadlineExceeded),
		"body too large":           &http.MaxBytesError{Limit: 1},
		"error of another service": theirs,
		"nil pointer":              (*apierror.Error)(nil),
		"zero":                     new(apierror.Error),
		"a status of success":      odd(200),
		"a status of redirection":  odd(302),
		"an informational status":  odd(102),
		"an invalid status":        odd(1000),
		"a type alone":             apierror.TypeInvalidRequest,
	}
	for _, d := range apierror.DefaultCatalog().Definitions() {
		if !idempotent.DefaultKeep(d.Status) {
			errs["built-in "+string(d.Code)] = d.New()
		}
	}
	return errs
}

func TestDoRunsAgainAfterAnyOtherError(t *testing.T) {
	t.Parallel()
	for name, other := range otherErrors(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe})
			w := &work{do: func(_ context.Context, n int) (string, error) {
				if n == 1 {
					return "half", other
				}
				return "done", nil
			}}

			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.True(t, reflect.DeepEqual(other, err))
			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)

			require.NoError(t, err)
			require.Equal(t, "done", v)
			events.require(t, idempotent.OutcomeReleased, idempotent.OutcomeExecuted)
			require.GreaterOrEqual(t, events.events[0].Status, 400)
			require.Equal(t, 1, events.events[1].Attempt)
		})
		t.Run(name+" after BeginEffect", func(t *testing.T) {
			t.Parallel()
			var events eventLog
			g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe})
			w := &work{do: func(ctx context.Context, _ int) (string, error) {
				require.NoError(t, idempotent.BeginEffect(ctx))
				return "", other
			}}

			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.True(t, reflect.DeepEqual(other, err))
			_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)

			require.Equal(t, apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeOf(err))
			require.Equal(t, 1, w.runs)
			events.require(t, idempotent.OutcomeUnknown, idempotent.OutcomeStillUnknown)
		})
	}
}

func TestErrorStatusBounds(t *testing.T) {
	t.Parallel()
	for status, told := range map[int]int{399: 500, 400: 400, 599: 599, 600: 500} {
		var events eventLog
		g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe, Keep: func(int) bool { return true }})
		w := fails(apierror.Definition{Code: "odd", Type: apierror.TypeInvalidRequest, Status: status, Message: "Odd."}.New())
		for range 2 {
			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.Equal(t, apierror.Code("odd"), apierror.CodeOf(err))
			require.Equal(t, told, events.last().Status)
		}
		require.Equal(t, 1, w.runs)
	}
}

func TestDoAsksKeepForErrors(t *testing.T) {
	t.Parallel()
	statuses := []int{}
	g := idempotent.NewGuard(memory(), &idempotent.Options{Keep: func(status int) bool {
		statuses = append(statuses, status)
		return status != 402
	}})
	declined := fails(cardDeclined)
	odd := fails(apierror.Definition{Code: "odd", Type: apierror.TypeInvalidRequest, Status: 302, Message: "Odd."}.New())
	for range 2 {
		_, err := idempotent.Do(t.Context(), g, callOf("402"), declined.run)
		require.ErrorIs(t, err, cardDeclined)
		_, err = idempotent.Do(t.Context(), g, callOf("302"), odd.run)
		require.ErrorIs(t, err, apierror.Code("odd"), "an error is not replayed as a value")
		_, err = idempotent.Do(t.Context(), g, callOf("200"), func(context.Context) (string, error) { return "", nil })
		require.NoError(t, err)
	}
	require.Equal(t, 2, declined.runs)
	require.Equal(t, 1, odd.runs)
	require.Equal(t, []int{402, 500, 402}, statuses, "a value is always kept, and an invalid status of an error counts as 500")
}

func TestDoEndsWithAPanicOrGoexit(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	ends := map[string]func(){
		"panic":  func() { panic(boom) },
		"abort":  func() { panic(http.ErrAbortHandler) },
		"Goexit": runtime.Goexit,
	}
	for name, end := range ends {
		for _, effect := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " effect ", effect), func(t *testing.T) {
				t.Parallel()
				var events eventLog
				g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe})
				w := &work{do: func(ctx context.Context, n int) (string, error) {
					if effect {
						require.NoError(t, idempotent.BeginEffect(ctx))
					}
					if n == 1 {
						end()
					}
					return "done", nil
				}}
				call := func() (err error) {
					_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
					return err
				}

				panicked, returned := isolated(func() { _ = call() })
				require.False(t, returned)
				switch name {
				case "panic":
					require.Equal(t, boom, panicked)
				case "abort":
					require.Equal(t, http.ErrAbortHandler, panicked)
				default:
					require.Nil(t, panicked)
				}

				err := call()
				if effect {
					require.Equal(t, apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeOf(err))
					events.require(t, idempotent.OutcomeUnknown, idempotent.OutcomeStillUnknown)
				} else {
					require.NoError(t, err)
					events.require(t, idempotent.OutcomeReleased, idempotent.OutcomeExecuted)
				}
			})
		}
	}
}

func TestDoRefusesIncompleteCalls(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		call idempotent.Call
		code apierror.Code
	}{
		"no principal":   {idempotent.Call{Key: "k"}, apierror.CodeAPIError},
		"no key":         {idempotent.Call{Principal: "p"}, apierror.CodeParameterInvalid},
		"nothing":        {idempotent.Call{}, apierror.CodeAPIError},
		"a key too long": {idempotent.Call{Principal: "p", Key: strings.Repeat("x", 256)}, apierror.CodeParameterInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			var w work
			store := &recorder{Store: memory()}
			g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
			_, err := idempotent.Do(t.Context(), g, test.call, w.run)
			require.Equal(t, test.code, apierror.CodeOf(err))
			require.Zero(t, w.runs)
			require.Empty(t, store.calls)
			events.require(t, idempotent.OutcomeRefused)
			require.Equal(t, err, events.events[0].Err)
			require.Zero(t, events.events[0].ID)
		})
	}
	for name, call := range map[string]idempotent.Call{
		"the longest key": {Principal: "p", Key: strings.Repeat("x", 255)},
		"bytes":           {Principal: "p", Key: "\x00\xff\n"},
		"global":          {Principal: idempotent.GlobalPrincipal, Key: "k"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w work
			g := idempotent.NewGuard(memory(), nil)
			for range 2 {
				_, err := idempotent.Do(t.Context(), g, call, w.run)
				require.NoError(t, err)
			}
			require.Equal(t, 1, w.runs)
		})
	}
}

func TestDoDistinguishesCalls(t *testing.T) {
	t.Parallel()
	store := memory()
	g := idempotent.NewGuard(store, nil)
	other := idempotent.NewGuard(store, &idempotent.Options{Namespace: "other"})
	fp := idempotent.Fingerprint{1}
	var w work
	do := func(g *idempotent.Guard, c idempotent.Call) (string, error) {
		return idempotent.Do(t.Context(), g, c, w.run)
	}

	v, err := do(g, idempotent.Call{Principal: "a", Key: "k", Fingerprint: fp})
	require.NoError(t, err)
	require.Equal(t, "run 1", v)
	for name, c := range map[string]idempotent.Call{
		"another fingerprint": {Principal: "a", Key: "k", Fingerprint: idempotent.Fingerprint{2}},
		"no fingerprint":      {Principal: "a", Key: "k"},
	} {
		_, err = do(g, c)
		require.Equal(t, apierror.CodeIdempotencyConflict, apierror.CodeOf(err), name)
	}
	for i, c := range []idempotent.Call{
		{Principal: "a", Key: "l", Fingerprint: fp},
		{Principal: "b", Key: "k", Fingerprint: fp},
		{Principal: idempotent.GlobalPrincipal, Key: "k", Fingerprint: fp},
	} {
		v, err = do(g, c)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint("run ", i+2), v)
	}
	v, err = do(other, idempotent.Call{Principal: "a", Key: "k", Fingerprint: fp})
	require.NoError(t, err)
	require.Equal(t, "run 5", v, "another namespace")
}

func TestDoKeepsValuesUpToMaxResponse(t *testing.T) {
	t.Parallel()
	const limit = 100
	large := cardDeclined.New().WithMessage(strings.Repeat("x", limit))
	for name, test := range map[string]struct {
		limit int
		size  int // of the value, with its quotes
		err   error
		kept  bool
	}{
		"at the limit":             {limit, limit, nil, true},
		"over the limit":           {limit, limit + 1, nil, false},
		"an error over the limit":  {limit, 2, large, false},
		"no limit":                 {-1, 2 << 20, nil, true},
		"at the default":           {0, 1 << 20, nil, true},
		"over the default":         {0, 1<<20 + 1, nil, false},
		"an error without a limit": {-1, 2, large, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			g := idempotent.NewGuard(memory(), &idempotent.Options{MaxResponse: test.limit, Observe: events.observe})
			value := strings.Repeat("x", test.size-2)
			w := &work{do: func(context.Context, int) (string, error) { return value, test.err }}

			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.Equal(t, test.err, err)
			require.Equal(t, value, v)
			_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)

			require.Equal(t, 1, w.runs)
			if test.kept {
				require.Equal(t, test.err, err)
				require.Equal(t, idempotent.OutcomeExecuted, events.outcomes()[0])
			} else {
				require.Equal(t, apierror.CodeIdempotencyResponseUnavailable, apierror.CodeOf(err))
				require.Equal(t, idempotent.OutcomeNotKept, events.outcomes()[0])
			}
		})
	}
}

func TestDoReturnsTheResolvedOutcome(t *testing.T) {
	t.Parallel()
	declined, err := cardDeclined.New().MarshalBinary()
	require.NoError(t, err)
	for name, test := range map[string]struct {
		completion idempotent.Completion
		value      string
		code       apierror.Code
	}{
		"a value": {
			completion: idempotent.Completion{
				State: idempotent.StateDone, Response: encode(idempotent.Response{Status: 200, Body: []byte(`"charged"`)}),
			},
			value: "charged",
		},
		"an error": {
			completion: idempotent.Completion{
				State: idempotent.StateDone, Response: encode(idempotent.Response{Status: 402, Body: declined}),
			},
			code: "card_declined",
		},
		"not kept": {
			completion: idempotent.Completion{State: idempotent.StateNotKept, Response: encode(idempotent.Response{Status: 200})},
			code:       apierror.CodeIdempotencyResponseUnavailable,
		},
		"nothing was done": {completion: idempotent.Completion{State: idempotent.StateAbsent}, value: "run 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := idempotent.NewMemory(nil)
			g := idempotent.NewGuard(store, nil)
			w := &work{do: func(ctx context.Context, n int) (string, error) {
				require.NoError(t, idempotent.BeginEffect(ctx))
				if n == 1 {
					return "", io.ErrUnexpectedEOF
				}
				return fmt.Sprint("run ", n), nil
			}}
			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)

			test.completion.Retention = time.Hour
			require.NoError(t, store.Resolve(t.Context(), new(idempotent.Options).ID("customer", "k"), test.completion))

			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.Equal(t, test.code, apierror.CodeOf(err))
			require.Equal(t, test.value, v)
		})
	}
}
