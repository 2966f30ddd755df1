package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// serveWay returns the handler of a way. It makes one effect.
func (s *server) serveWay(way history.Way) func(http.ResponseWriter, *http.Request) error {
	effect := s.effect(way)
	return func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			Amount int `json:"amount"`
		}
		if err := apierror.DecodeJSON(w, r, &in, nil); err != nil {
			return err
		}
		c := callFrom(r.Context())
		if c == nil {
			return apierror.ParameterMissing("Idempotency-Key")
		}
		c.run, c.large = s.nextRun(), false
		e := history.Effect{Key: c.key, Way: way, Amount: in.Amount, Run: c.run}
		answer, err := s.decide(r.Context(), c, e, effect)
		if err != nil {
			return err
		}
		return answer.Write(w)
	}
}

// An effectFunc makes an effect and returns the answer.
type effectFunc func(ctx context.Context, c *call, e history.Effect) (idempotent.Response, error)

func (s *server) effect(way history.Way) effectFunc {
	if s.bug.effect != nil && s.bug.Way == way {
		return func(ctx context.Context, c *call, e history.Effect) (idempotent.Response, error) {
			return s.bug.effect(ctx, s, c, e)
		}
	}
	return map[history.Way]effectFunc{
		history.Plain:         s.plain,
		history.BeginEffect:   s.beginEffect,
		history.DerivedKey:    s.derivedKey,
		history.Executor:      s.inExecutor,
		history.FinishTx:      s.finishTx,
		history.BeginEffectTx: s.beginEffectTx,
	}[way]
}

// decide returns the answer, also that there is none: a payment that was declined, or settled
// without a charge.
func (s *server) decide(ctx context.Context, c *call, e history.Effect, effect effectFunc) (idempotent.Response, error) {
	err := s.f.at(ctx, c, history.AfterClaim)
	if err == nil {
		var answer idempotent.Response
		if answer, err = effect(ctx, c, e); err == nil {
			return answer, nil
		}
	}
	switch {
	case errors.Is(err, errDeclined):
		return answerOf(http.StatusPaymentRequired, answerTo(e), c), nil
	case errors.Is(err, errSettled):
		return settledWithout(e.Key), nil
	}
	return idempotent.Response{}, err
}

func answerTo(e history.Effect) history.Answer {
	return history.Answer{Key: e.Key, Amount: e.Amount, Run: e.Run}
}

// settledWithout is the answer for a payment that was settled without a charge.
func settledWithout(key string) idempotent.Response {
	return answerOf(http.StatusPaymentRequired, history.Answer{Key: key, Run: "settled"}, nil)
}

// answerOf returns the response with an answer. It is large if the call says so.
func answerOf(status int, a history.Answer, c *call) idempotent.Response {
	body, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and an integer
	}
	if c != nil && c.large {
		body = append(body, bytes.Repeat([]byte(" "), MaxResponse)...)
	}
	return idempotent.Response{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
}

func (s *server) plain(ctx context.Context, c *call, e history.Effect) (idempotent.Response, error) {
	return s.charge(ctx, c, e, "")
}

func (s *server) beginEffect(ctx context.Context, c *call, e history.Effect) (idempotent.Response, error) {
	if err := s.mark(ctx, c, idempotent.BeginEffect); err != nil {
		return idempotent.Response{}, err
	}
	return s.charge(ctx, c, e, "")
}

func (s *server) derivedKey(ctx context.Context, c *call, e history.Effect) (idempotent.Response, error) {
	return s.charge(ctx, c, e, idempotent.DerivedKey(ctx, "charge"))
}

// charge charges at the provider. The answer is its receipt.
func (s *server) charge(ctx context.Context, c *call, e history.Effect, idempotencyKey string) (r idempotent.Response, err error) {
	if err := s.f.at(ctx, c, history.BeforeEffect); err != nil {
		return r, err
	}
	receipt, err := s.payments.charge(ctx, charge{Key: e.Key, Way: e.Way, Amount: e.Amount, Run: e.Run}, idempotencyKey)
	if err != nil {
		return r, err
	}
	if err := s.f.at(ctx, c, history.AfterEffect); err != nil {
		return r, err
	}
	return answerOf(http.StatusCreated, receipt, c), nil
}

// mark calls begin between its windows.
func (s *server) mark(ctx context.Context, c *call, begin func(context.Context) error) error {
	if err := s.f.at(ctx, c, history.BeforeMark); err != nil {
		return err
	}
	if err := begin(ctx); err != nil {
		return err
	}
	return s.f.at(ctx, c, history.AfterMark)
}

func (s *server) inExecutor(ctx context.Context, c *call, e history.Effect) (r idempotent.Response, err error) {
	if err := s.insert(ctx, c, e, s.db.insert); err != nil {
		return r, err
	}
	return answerOf(http.StatusCreated, answerTo(e), c), nil
}

// insert calls insert between its windows.
func (s *server) insert(ctx context.Context, c *call, e history.Effect, insert func(context.Context, history.Effect) error) error {
	if err := s.f.at(ctx, c, history.BeforeEffect); err != nil {
		return err
	}
	if err := insert(ctx, e); err != nil {
		return unavailable(err)
	}
	return s.f.at(ctx, c, history.AfterEffect)
}

func (s *server) finishTx(ctx context.Context, c *call, e history.Effect) (idempotent.Response, error) {
	return s.inTx(ctx, c, e, func(tx transaction, r idempotent.Response) error { return tx.finish(ctx, r) })
}

func (s *server) beginEffectTx(ctx context.Context, c *call, e history.Effect) (idempotent.Response, error) {
	return s.inTx(ctx, c, e, func(tx transaction, _ idempotent.Response) error { return s.mark(ctx, c, tx.beginEffect) })
}

// inTx inserts the effect in a transaction of the handler, and calls last right before the commit.
func (s *server) inTx(ctx context.Context, c *call, e history.Effect, last func(transaction, idempotent.Response) error) (r idempotent.Response, err error) {
	tx, err := s.db.begin(ctx)
	if err != nil {
		return r, unavailable(err)
	}
	defer tx.rollback()
	if err := s.insert(ctx, c, e, tx.insert); err != nil {
		return r, err
	}
	r = answerOf(http.StatusCreated, answerTo(e), c)
	if err := last(tx, r); err != nil {
		return r, unavailable(err)
	}
	if err := s.f.at(ctx, c, history.BeforeCommit); err != nil {
		return r, err
	}
	if err := tx.commit(ctx); err != nil {
		return r, unavailable(err)
	}
	return r, s.f.at(ctx, c, history.AfterCommit)
}
