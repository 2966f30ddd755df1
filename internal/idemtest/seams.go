package idemtest

import (
	"context"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// WithoutExecutor returns the store without its optional methods.
func (s *TxStore) WithoutExecutor() idempotent.Store { return struct{ idempotent.Store }{s} }

// BeginEffectTx is idempotent.BeginEffect in a transaction of the handler in the store's
// database. The effect has begun if and only if t commits.
func (s *TxStore) BeginEffectTx(ctx context.Context, t *Transaction) error {
	return idempotent.BeginEffectWith(ctx, func(ctx context.Context, o idempotent.Owner) error {
		r, err := s.lock(ctx, t, o.ID)
		if err != nil {
			return err
		}
		if r, err = r.beginEffect(o.Token); err != nil {
			return err
		}
		return s.write(ctx, t, o.ID, r)
	})
}

// FinishTx finishes the record in a transaction of the handler in the store's database. Without a
// key it does nothing.
func (s *TxStore) FinishTx(ctx context.Context, t *Transaction, response idempotent.Response, retention time.Duration) error {
	o, ok := idempotent.OwnerOf(ctx)
	if !ok {
		return nil
	}
	r, err := s.lock(ctx, t, o.ID)
	if err != nil {
		return err
	}
	c := response.Completion(retention)
	if r, err = r.finish(o.Token, c, s.now()); err != nil {
		return err
	}
	return s.write(ctx, t, o.ID, r)
}
