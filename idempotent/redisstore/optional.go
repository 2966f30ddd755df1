package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Wait implements [idempotent.Waiter]. Finish and Resolve publish a message on a channel with the
// name of the record's key. Because Redis does not promise to deliver it, Wait also looks at the
// record about once a second.
func (s *Store) Wait(ctx context.Context, id idempotent.ID) error {
	hint := make(chan struct{}, 1)
	if sub, ok := s.runner.(Subscriber); ok {
		cancel := sub.Subscribe(s.key(id), func() {
			select {
			case hint <- struct{}{}:
			default: // it is filled already
			}
		})
		defer cancel()
	}
	for {
		// A hint comes when the subscription is confirmed, too. So the record is read after that.
		state, _, err := s.look(ctx, id)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || state != "running":
			return err
		}
		select {
		case <-hint:
		case <-time.After(s.poll/2 + rand.N(s.poll)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look returns the state of a record, and the record if a Resolver can settle it.
func (s *Store) look(ctx context.Context, id idempotent.ID) (state string, unknown *idempotent.UnknownRecord, err error) {
	reply, err := s.run(ctx, "look", lookScript, id)
	if err != nil {
		return "", nil, err
	}
	list, _ := reply.([]any)
	if len(list) != 1 && len(list) != 4 {
		return "", nil, unexpected("look", reply)
	}
	state, ok := list[0].(string)
	if !ok {
		return "", nil, unexpected("look", reply)
	}
	if len(list) == 1 {
		return state, nil, nil
	}
	scope, _ := list[1].(string)
	attempt, _ := list[2].(int64)
	left, _ := list[3].(int64)
	u := &idempotent.UnknownRecord{ID: id, Attempt: int(attempt), Left: duration(left)}
	if err := u.Scope.UnmarshalText([]byte(scope)); err != nil {
		return "", nil, fmt.Errorf("redisstore: look, record %s: %w", id, err)
	}
	return state, u, nil
}

// ListUnknown implements [idempotent.UnknownLister]. It is for a job, and not for requests: each
// page walks through all keys of the server (of every master of a Cluster), and looks at each
// record with the store's prefix that can be in the page. A record that becomes unknown during the
// walk may be missing. A record that is damaged, or has a later layout, is an error with its ID. If
// a server restarts during the walk, that is an error too.
//
// With a [Runner] that is not a [Scanner], the error matches errors.ErrUnsupported.
func (s *Store) ListUnknown(ctx context.Context, after idempotent.ID, limit int) ([]idempotent.UnknownRecord, error) {
	scanner, ok := s.runner.(Scanner)
	if !ok {
		return nil, fmt.Errorf("redisstore: ListUnknown: the Runner is not a Scanner: %w", errors.ErrUnsupported)
	}
	list, err := within(ctx, func() ([]idempotent.UnknownRecord, error) {
		var list []idempotent.UnknownRecord
		err := scanner.Scan(ctx, globEscaper.Replace(s.prefix)+"*", func(keys []string) error {
			found, err := s.unknownOf(ctx, keys, after)
			list = append(list, found...)
			return err
		})
		return list, err
	})
	if err != nil {
		return nil, fmt.Errorf("redisstore: ListUnknown: %w", err)
	}
	order := func(a, b idempotent.UnknownRecord) int { return bytes.Compare(a.ID[:], b.ID[:]) }
	slices.SortFunc(list, order)
	list = slices.CompactFunc(list, func(a, b idempotent.UnknownRecord) bool { return a.ID == b.ID })
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, nil
}

// globEscaper escapes what has a meaning in a pattern of SCAN.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// unknownOf returns the unknown records of those keys that belong to records after an ID. It looks
// at several at the same time.
func (s *Store) unknownOf(ctx context.Context, keys []string, after idempotent.ID) (found []idempotent.UnknownRecord, err error) {
	const parallel = 16
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		slot = make(chan struct{}, parallel)
	)
	for _, key := range keys {
		var id idempotent.ID
		if id.UnmarshalText([]byte(strings.TrimPrefix(key, s.prefix))) != nil || bytes.Compare(id[:], after[:]) <= 0 {
			continue // not a record of this store, or not in this page
		}
		slot <- struct{}{}
		wg.Go(func() {
			defer func() { <-slot }()
			_, u, lookErr := s.look(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if lookErr != nil {
				err = lookErr
			} else if u != nil {
				found = append(found, *u)
			}
		})
	}
	wg.Wait()
	return found, err
}
