package idempotent_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// The reply of the bank is lost, so nobody knows whether the customer was charged. A retry does
// not charge again.
func ExampleBeginEffect() {
	charges := 0
	charge := func(ctx context.Context) (string, error) {
		if err := idempotent.BeginEffect(ctx); err != nil {
			return "", err
		}
		charges++
		return "", errors.New("the connection to the bank is lost")
	}

	guard := idempotent.NewGuard(idempotent.NewMemory(nil), nil)
	call := idempotent.Call{Principal: "customer-1", Key: "key-1"}
	_, err := idempotent.Do(context.Background(), guard, call, charge)
	fmt.Println(err)
	_, err = idempotent.Do(context.Background(), guard, call, charge)
	fmt.Println(apierror.CodeOf(err))
	fmt.Println("charges:", charges)
	// Output:
	// the connection to the bank is lost
	// idempotency_outcome_unknown
	// charges: 1
}

// A call failed after its effect had begun. An operator learns from the bank that the
// customer was charged, and records the response for the next retry.
func ExampleResolver() {
	store := idempotent.NewMemory(nil)
	options := &idempotent.Options{Namespace: "payments"}
	handler := idempotent.New(store, idempotent.Global, options)(apierror.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) error {
			if err := idempotent.BeginEffect(r.Context()); err != nil {
				return err
			}
			return errors.New("the connection to the bank is lost")
		}))
	post := func() {
		r := httptest.NewRequest(http.MethodPost, "/charges", nil)
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if err := apierror.Parse(w.Result()); err != nil {
			fmt.Println(w.Code, apierror.CodeOf(err))
			return
		}
		fmt.Println(w.Code, w.Body)
	}

	post()
	post()
	id := options.ID(idempotent.GlobalPrincipal, "key-1")
	response := idempotent.Response{Status: http.StatusCreated, Body: []byte("charge 7")}
	if err := store.Resolve(context.Background(), id, response.Completion(24*time.Hour)); err != nil {
		fmt.Println(err)
	}
	post()
	// Output:
	// 500 api_error
	// 409 idempotency_outcome_unknown
	// 201 charge 7
}

// A job finds the records whose outcome is unknown.
func ExampleUnknownLister() {
	store := idempotent.NewMemory(nil)
	guard := idempotent.NewGuard(store, nil)
	call := idempotent.Call{Principal: "customer-1", Key: "key-1"}
	idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (int, error) {
		if err := idempotent.BeginEffect(ctx); err != nil {
			return 0, err
		}
		return 0, errors.New("the connection to the bank is lost")
	})

	var after idempotent.ID
	for {
		page, err := store.ListUnknown(context.Background(), after, 100)
		if err != nil || len(page) == 0 {
			break
		}
		for _, record := range page {
			fmt.Println(record.ID == new(idempotent.Options).ID("customer-1", "key-1"))
			after = record.ID
		}
	}
	// Output:
	// true
}

// The payment service takes idempotency keys. It gets the same key in every attempt, so a
// second attempt does not pay again.
func ExampleDerivedKey() {
	payments := make(map[string]string) // the payment service
	pay := func(key string) string {
		if payments[key] == "" {
			payments[key] = fmt.Sprint("payment ", len(payments)+1)
		}
		return payments[key]
	}

	guard := idempotent.NewGuard(idempotent.NewMemory(nil), nil)
	call := idempotent.Call{Principal: "customer-1", Key: "key-1"}
	attempts := 0
	for range 2 {
		fmt.Println(idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (string, error) {
			payment := pay(idempotent.DerivedKey(ctx, "payment"))
			if attempts++; attempts == 1 {
				return "", errors.New("the database is down")
			}
			return payment, nil
		}))
	}
	fmt.Println("payments:", len(payments))
	// Output:
	//  the database is down
	// payment 1 <nil>
	// payments: 1
}

// A server-sent event must not wait until the handler returns. A retry cannot get the response.
func ExampleStream() {
	handler := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: 50%\n\n")
			w.(http.Flusher).Flush() // reaches the client now
			fmt.Fprint(w, "data: 100%\n\n")
		}))

	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/imports", nil)
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, apierror.CodeOf(apierror.Parse(w.Result())))
	}
	// Output:
	// 200 ""
	// 409 "idempotency_response_unavailable"
}

// A handler that has done nothing frees the key. Without Forget, its 409 would be recorded.
func ExampleForget() {
	inStock := false
	handler := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if !inStock {
				idempotent.Forget(r.Context())
				http.Error(w, "out of stock", http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusCreated)
		}))

	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/orders", nil)
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
		inStock = true
	}
	// Output:
	// 409
	// 201
}

// An earlier process has crashed while it ran the call. The second attempt removes what that
// process has left.
func ExampleAttempt() {
	store := idempotent.NewMemory(nil)
	store.Acquire(context.Background(), idempotent.Claim{ // by the process that has crashed
		ID:        new(idempotent.Options).ID("customer-1", "key-1"),
		Token:     idempotent.NewToken(),
		Lease:     time.Nanosecond,
		Retention: time.Hour,
	})

	guard := idempotent.NewGuard(store, nil)
	call := idempotent.Call{Principal: "customer-1", Key: "key-1"}
	idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (string, error) {
		if idempotent.Attempt(ctx) > 1 {
			fmt.Println("removing the files of attempt", idempotent.Attempt(ctx)-1)
		}
		return "imported", nil
	})
	// Output:
	// removing the files of attempt 1
}
