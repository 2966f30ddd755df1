package idempotent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// once calls the store once, with a timeout. A panic of the store is returned as an error.
func (g *Guard) once(ctx context.Context, timeout time.Duration, op func(context.Context) error) (err error) {
	if !g.local {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	defer recoverStore(&err)
	return op(ctx)
}

// recoverStore is deferred around code of a store. It turns a panic into an error.
func recoverStore(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("idempotent: the store panicked: %v", p)
	}
}

// try calls the store, and calls it again after an error, until the store answers or the
// given time is over. A call that failed may still have taken effect. An error of a local
// store is final.
func (g *Guard) try(ctx context.Context, patience time.Duration, op func(context.Context) error) error {
	if g.local {
		return g.once(ctx, patience, op)
	}
	end := time.Now().Add(patience)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		err := g.once(ctx, min(g.opt.StoreTimeout, time.Until(end)), op)
		if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrFull) {
			return err
		}
		jittered := pause/2 + rand.N(pause)
		if time.Until(end) <= jittered {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(jittered):
		}
	}
}
