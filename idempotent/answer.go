package idempotent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// answer answers a request whose handler is not run, or whose run does not count.
func (q *request) answer(v Verdict, err error) {
	if q.ran == nil {
		q.stopWaiting()
	}
	switch {
	case errors.Is(err, ErrQuota):
		q.refuse(OverQuota, apierror.RateLimitExceeded(soon()).WithCause(err))
	case err != nil:
		q.refuse(StoreFailed, apierror.ServiceUnavailable(soon()).WithCause(err))
	case v.State == InFlight && errors.Is(q.r.Context().Err(), context.Canceled):
		q.refuse(InProgress, q.r.Context().Err())
	case v.State == InFlight:
		q.refuse(InProgress, apierror.IdempotencyInProgress(soon()))
	case v.State == Released:
		q.refuse(LeaderFailed, apierror.ServiceUnavailable(soon()).WithCause(errLeaderFailed))
	case v.State == Mismatch:
		q.refuse(Conflict, apierror.IdempotencyConflict())
	case v.State == Unknown:
		q.refuse(OutcomeUnknown, apierror.IdempotencyOutcomeUnknown())
	case v.State == Expired:
		q.refuse(Unavailable, apierror.IdempotencyResponseUnavailable())
	case v.State == Done, v.State == Sealed:
		q.replay(v)
	default:
		q.refuse(StoreFailed, apierror.Internal(fmt.Errorf("idempotent: the store answered the state %d", v.State)))
	}
}

func (q *request) refuse(res Result, err error) {
	q.event.Result, q.event.Err = res, err
	apierror.Write(q.w, q.r, err)
}

// soon is how long a client is told to wait: one or two seconds, so that not all come back at once.
func soon() time.Duration { return time.Duration(1+rand.IntN(2)) * time.Second }

// replay answers with what was recorded.
func (q *request) replay(v Verdict) {
	rec, err := parseRecord(v.Record)
	if err != nil {
		q.refuse(StoreFailed, apierror.Internal(err))
		return
	}
	if q.Authorize != nil {
		if err := q.Authorize(q.r); err != nil {
			q.refuse(Refused, err)
			return
		}
	}
	q.event.Status = rec.status
	if v.State == Sealed {
		e := apierror.IdempotencyResponseUnavailable()
		for name, values := range rec.fields {
			e = e.WithHeader(name, values[0]) // there is the Location at most
		}
		q.refuse(Unavailable, e)
		return
	}
	q.event.Result = Replayed
	h := q.w.Header()
	h[headerReplayed] = rec.list("true")
	if rec.requestID != "" {
		h[headerOriginal] = rec.list(rec.requestID)
	}
	send(q.w, &rec, nil)
}

// stopWaiting is the moment of the answer, or of the run.
func (q *request) stopWaiting() {
	if q.Observe != nil {
		q.event.Waited = time.Since(q.started)
	}
}

// observe reports the request, when all is done, so that a hook that panics leaves nothing behind.
func (q *request) observe() { q.Observe(q.r.Context(), q.event) }

func (q *request) warn(msg string, err error) {
	attrs := []slog.Attr{slog.String("request_id", reqstate.From(q.r.Context()).RequestID()), slog.Any("error", err)}
	if q.event.ID != (ID{}) {
		attrs = append(attrs, slog.String("idempotency_id", q.event.ID.String()))
	}
	q.Logger.LogAttrs(q.r.Context(), slog.LevelWarn, msg, attrs...)
}
