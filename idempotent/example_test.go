package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// write posts a body with a key and prints what comes back.
func write(s *memhttp.Server, key, body string) {
	req, _ := http.NewRequest(http.MethodPost, s.URL+"/v1/charges", strings.NewReader(body))
	req.Header.Set("Idempotency-Key", key)
	resp, err := s.Client().Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	if err := apierror.Parse(resp); err != nil {
		fmt.Println(resp.StatusCode, apierror.CodeOf(err))
		return
	}
	answer, _ := io.ReadAll(resp.Body)
	if resp.Header.Get("Idempotent-Replayed") == "true" {
		answer = append(answer, " (replayed)"...)
	}
	fmt.Println(resp.StatusCode, string(answer))
}

func Example() {
	charges := 0
	charge := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		charges++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "charge %d", charges)
	})
	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)
	s := memhttp.New(keyed(charge))
	defer s.Close()

	write(s, "key-1", "amount=10")
	write(s, "key-1", "amount=10") // the reply was lost: the client tries again
	write(s, "key-1", "amount=99")
	write(s, "key-2", "amount=99")
	// Output:
	// 201 charge 1
	// 201 charge 1 (replayed)
	// 409 idempotency_conflict
	// 201 charge 2
}

func ExampleBeginEffect() {
	charge := apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		if err := idempotent.BeginEffect(r.Context()); err != nil {
			return err // nothing was charged: a retry may
		}
		return io.ErrUnexpectedEOF // the bank's reply was lost: was it charged?
	})
	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)
	s := memhttp.New(keyed(charge))
	defer s.Close()

	write(s, "key-1", "amount=10")
	write(s, "key-1", "amount=10") // does not charge again
	// Output:
	// 500 api_error
	// 409 idempotency_outcome_unknown
}

func ExampleMemory_Resolve() {
	charge := apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		if err := idempotent.BeginEffect(r.Context()); err != nil {
			return err
		}
		return io.ErrUnexpectedEOF
	})
	store := idempotent.NewMemory(nil)
	s := memhttp.New(idempotent.New(store, idempotent.Global, nil)(charge))
	defer s.Close()
	write(s, "key-1", "amount=10")
	write(s, "key-1", "amount=10")

	// Someone has asked the bank: it was charged.
	answer := idempotent.Response{Status: http.StatusCreated, Body: []byte("charge 7")}
	id := new(idempotent.Options).ID(idempotent.GlobalPrincipal, "key-1")
	err := store.Resolve(context.Background(), id, answer.Completion(24*time.Hour))
	fmt.Println(err)
	write(s, "key-1", "amount=10")
	// Output:
	// 500 api_error
	// 409 idempotency_outcome_unknown
	// <nil>
	// 201 charge 7 (replayed)
}

func ExampleFingerprintOf() {
	// Two requests are the same when their amounts are, whatever else the form holds.
	amountOnly := func(r *http.Request, body func() ([]byte, error)) (idempotent.Fingerprint, error) {
		b, err := body()
		if err != nil {
			return idempotent.Fingerprint{}, err
		}
		amount, _, _ := strings.Cut(string(b), "&")
		return idempotent.FingerprintOf(r, []byte(amount)), nil
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "charged") })
	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, &idempotent.Options{Fingerprint: amountOnly})
	s := memhttp.New(keyed(handler))
	defer s.Close()

	write(s, "key-1", "amount=10&trace=a")
	write(s, "key-1", "amount=10&trace=b")
	write(s, "key-1", "amount=11&trace=b")
	// Output:
	// 200 charged
	// 200 charged (replayed)
	// 409 idempotency_conflict
}
