package idempotent_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// A tenant that sends as many duplicates as may wait at all leaves room for the duplicates of
// others.
func TestOneTenantDoesNotTakeAllPlaces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ keys, duplicates int }{
		"few keys, many duplicates": {32, 128}, // each follows a leader of its process
		"many keys, few duplicates": {1024, 1}, // all poll for a run of another process
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := leased{memory()}
				g, elsewhere := idempotent.NewGuard(store, nil), idempotent.NewGuard(store, nil)
				leaders := g
				if test.duplicates == 1 {
					leaders = elsewhere
				}
				var refused atomic.Int64
				var wg sync.WaitGroup
				do := func(g *idempotent.Guard, principal, key string) error {
					v, err := idempotent.Do(t.Context(), g, idempotent.Call{Principal: principal, Key: key}, func(context.Context) (string, error) {
						time.Sleep(8 * time.Second)
						return principal, nil
					})
					if err == nil && v != principal {
						t.Errorf("%s was told %q", principal, v)
					}
					return err
				}
				lead := func(principal, key string) { wg.Go(func() { require.NoError(t, do(leaders, principal, key)) }) }
				for i := range test.keys {
					lead("attacker", fmt.Sprint(i))
				}
				for i := range 10 {
					lead(fmt.Sprint("victim ", i), "k")
				}
				synctest.Wait()
				for i := range test.keys {
					for range test.duplicates {
						wg.Go(func() {
							if err := do(g, "attacker", fmt.Sprint(i)); apierror.CodeOf(err) == apierror.CodeIdempotencyInProgress {
								refused.Add(1)
							}
						})
					}
				}
				synctest.Wait()
				require.EqualValues(t, test.keys*test.duplicates-512, refused.Load(), "immediately")
				for i := range 10 {
					wg.Go(func() { require.NoError(t, do(g, fmt.Sprint("victim ", i), "k")) })
				}
				wg.Wait()
			})
		})
	}
}

// Two hundred duplicates with a body of 1 MiB wait, and none of their bodies is held.
func TestDuplicatesThatWaitHoldNoBody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fingerprint idempotent.FingerprintFunc
		contentType string
	}{
		"JSON":  {idempotent.FingerprintJSON, "application/json"},
		"bytes": {idempotent.FingerprintBody, "application/octet-stream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const duplicates = 200
				body := `{"a":"` + strings.Repeat("x", 1<<20-8) + `"}`
				var mu sync.Mutex
				var bodies []weak.Pointer[byte]
				remember := func(r *http.Request, load func() ([]byte, error)) (idempotent.Fingerprint, error) {
					return test.fingerprint(r, func() ([]byte, error) {
						b, err := load()
						mu.Lock()
						defer mu.Unlock()
						bodies = append(bodies, weak.Make(&b[0]))
						return b, err
					})
				}
				var got string
				mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: remember, MaxWaiters: -1})(
					http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						time.Sleep(5 * time.Second)
						b, _ := io.ReadAll(r.Body)
						got = string(b)
						_, _ = io.WriteString(w, "done")
					}))
				send := func() *httptest.ResponseRecorder {
					r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
					r.Header.Set("Idempotency-Key", "k")
					r.Header.Set("Content-Type", test.contentType)
					w := httptest.NewRecorder()
					mw.ServeHTTP(w, r)
					return w
				}
				held := func() (n int) {
					runtime.GC()
					for _, b := range bodies {
						if b.Value() != nil {
							n++
						}
					}
					return n
				}
				var wg sync.WaitGroup
				wg.Go(func() { send() })
				synctest.Wait()
				require.Equal(t, 1, held(), "the one that runs needs its body")
				for range duplicates {
					wg.Go(func() { require.Equal(t, "done", send().Body.String()) })
				}
				synctest.Wait()

				require.Len(t, bodies, 1+duplicates)
				require.Equal(t, 1, held())

				wg.Wait()
				if got != body {
					t.Error("the handler has not read it all")
				}
			})
		})
	}
}

// guesses is what someone can compute who knows the namespace, the principal, the key and the
// name, but not the secret: all plain hashes of them, as IDs and as derived keys.
func guesses(namespace, principal, key, name string) map[string]bool {
	found := map[string]bool{}
	hash := func(parts ...string) [32]byte {
		var b []byte
		for _, p := range parts {
			b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
		}
		sum := sha256.Sum256(b)
		found[hex.EncodeToString(sum[:])] = true
		found[base64.RawURLEncoding.EncodeToString(sum[:24])] = true
		return sum
	}
	id := hash("id", namespace, principal, key)
	hash("derived", string(id[:]), name)
	hash("scope", namespace, principal)
	return found
}

// With a secret, nothing that is logged, stored or handed on tells someone who guesses a key
// that it was right.
func TestGuessableKeysAreUnpredictableWithASecret(t *testing.T) {
	t.Parallel()
	const namespace, principal, key, name = "shop", "customer-1", "order-48213", "charge"
	told := func(secret string) (all []string) {
		var log transcript
		var events seen
		o := &idempotent.Options{
			Namespace: namespace, Secret: []byte(secret), Observe: events.observe, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}
		g := idempotent.NewGuard(memory(), o)
		_, err := idempotent.Do(t.Context(), g, idempotent.Call{Principal: principal, Key: key}, func(ctx context.Context) (int, error) {
			owner, _ := idempotent.OwnerOf(ctx)
			all = append(all, owner.ID.String(), idempotent.DerivedKey(ctx, name))
			require.NoError(t, idempotent.BeginEffect(ctx))
			return 0, errDown
		})
		require.ErrorIs(t, err, errDown)
		e := events.last()
		require.Contains(t, log.String(), "idempotency_id="+e.ID.String())
		return append(all, o.ID(principal, key).String(), e.ID.String(), e.Scope.String())
	}
	guessed := guesses(namespace, principal, key, name)
	plain, one, other := told(""), told("secret"), told("another secret")
	for i := range plain {
		require.True(t, guessed[plain[i]], "the guesses are good: %d", i)
		require.False(t, guessed[one[i]], i)
		require.NotEqual(t, one[i], other[i], i)
		require.NotContains(t, one[i], key)
	}
	require.Equal(t, one, told("secret"), "the same in every process")
	require.Equal(t, one[0], one[2])
	require.Equal(t, one[0], one[3])
}

// network is a store behind a bad network: requests come late, also after the caller has given
// up on them, and replies get lost.
type network struct {
	idempotent.Store
	mu     sync.Mutex
	random *rand.Rand
}

func (n *network) intN(limit int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random.IntN(limit)
}

// delay is mostly short, and sometimes longer than any caller waits.
func (n *network) delay() time.Duration {
	if n.intN(10) == 0 {
		return time.Duration(n.intN(3000)) * time.Millisecond
	}
	return time.Duration(n.intN(20)) * time.Millisecond
}

func carry[T any](ctx context.Context, n *network, op func(context.Context) (T, error)) (T, error) {
	type reply struct {
		v   T
		err error
	}
	replies := make(chan reply, 1)
	if n.intN(12) == 0 {
		return *new(T), errDown // it was never sent
	}
	there, back, lost := n.delay(), n.delay(), n.intN(12) == 0
	go func() {
		time.Sleep(there)
		v, err := op(context.WithoutCancel(ctx))
		if !lost {
			time.Sleep(back)
			replies <- reply{v, err}
		}
	}()
	select {
	case r := <-replies:
		return r.v, r.err
	case <-ctx.Done():
		return *new(T), ctx.Err()
	}
}

func (n *network) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	return carry(ctx, n, func(ctx context.Context) (idempotent.Decision, error) { return n.Store.Acquire(ctx, c) })
}

func (n *network) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	_, err := carry(ctx, n, func(ctx context.Context) (any, error) { return nil, n.Store.Renew(ctx, o, d) })
	return err
}

func (n *network) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	_, err := carry(ctx, n, func(ctx context.Context) (any, error) { return nil, n.Store.BeginEffect(ctx, o) })
	return err
}

func (n *network) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	_, err := carry(ctx, n, func(ctx context.Context) (any, error) { return nil, n.Store.Finish(ctx, o, c) })
	return err
}

// effects notes under which owners effects were begun, by key.
type effects struct {
	mu    sync.Mutex
	begun map[string]map[idempotent.Token]bool
}

// begin begins an effect, in any goroutine of a run.
func (e *effects) begin(ctx context.Context, key string) error {
	o, _ := idempotent.OwnerOf(ctx)
	err := idempotent.BeginEffect(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun[key] == nil {
		e.begun[key] = map[idempotent.Token]bool{}
	}
	e.begun[key][o.Token] = true
	return nil
}

func (e *effects) check(t *testing.T) (n int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, owners := range e.begun {
		if len(owners) > 1 {
			t.Errorf("%s: an effect was begun in %d runs", key, len(owners))
		}
		n += len(owners)
	}
	return n
}

// An effect that was begun happens in one run only, whenever the run ends beside it, whatever
// the network does, and whichever process dies.
func TestEffectsAreBegunInOneRunOnly(t *testing.T) {
	t.Parallel()
	var begun, runs atomic.Int64
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			store := memory()
			e := &effects{begun: map[string]map[idempotent.Token]bool{}}
			var guards []*idempotent.Guard
			for i := range uint64(3) {
				n := &network{Store: store, random: rand.New(rand.NewPCG(seed, i))}
				if i == 2 && seed%2 == 0 {
					n.Store = crash(store) // a process whose runs look like crashes
				}
				guards = append(guards, idempotent.NewGuard(n, &idempotent.Options{Lease: 6 * time.Second, MaxRun: 20 * time.Second, Wait: 2 * time.Second}))
			}
			random := &network{random: rand.New(rand.NewPCG(seed, 9))}
			ms := func(n int) time.Duration { return time.Duration(random.intN(n)) * time.Millisecond }
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					for round := range 6 {
						time.Sleep(ms(4000))
						key := fmt.Sprint(i%3, round)
						isolated(func() {
							_, _ = idempotent.Do(t.Context(), guards[random.intN(3)], callOf(key), func(ctx context.Context) (int, error) {
								runs.Add(1)
								if random.intN(3) > 0 {
									when := ms(3000)
									wg.Go(func() { time.Sleep(when); _ = e.begin(ctx, key) })
								} else {
									_ = e.begin(ctx, key)
								}
								time.Sleep(ms(3000))
								switch random.intN(8) {
								case 0:
									panic("boom")
								case 1:
									runtime.Goexit()
								case 2:
									return 1, nil
								case 3:
									time.Sleep(10 * time.Second)
								}
								return 0, errDown
							})
						})
					}
				})
			}
			wg.Wait()
			begun.Add(int64(e.check(t)))
			time.Sleep(time.Minute) // for what is still on the network
		})
	}
	require.Greater(t, runs.Load(), int64(300))
	require.Greater(t, begun.Load(), int64(60))
}

// The same in real time, where nothing but the scheduler decides what comes first.
func TestEffectBesideTheEndOfItsRun(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]idempotent.Store{"memory": memory(), "leases": leased{memory()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &effects{begun: map[string]map[idempotent.Token]bool{}}
			g := idempotent.NewGuard(store, nil)
			random := rand.New(rand.NewPCG(1, 2))
			for i := range 2000 {
				key := fmt.Sprint(i)
				var wg sync.WaitGroup
				for range 2 {
					turns := random.IntN(12)
					_, _ = idempotent.Do(t.Context(), g, callOf(key), func(ctx context.Context) (int, error) {
						for range 2 {
							wg.Go(func() { _ = e.begin(ctx, key) })
						}
						for range turns {
							runtime.Gosched()
						}
						return 0, errDown
					})
					wg.Wait()
				}
			}
			e.check(t)
		})
	}
}
