package idempotent_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// A second call with the same key returns the recorded value. The same key with a different
// fingerprint is a conflict.
func ExampleDo() {
	type receipt struct {
		ID     string
		Amount int
	}
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), nil)
	charges := 0
	charge := func(key string, amount int) (receipt, error) {
		call := idempotent.Call{
			Principal:   "customer-1",
			Key:         key,
			Fingerprint: sha256.Sum256(fmt.Append(nil, "charge ", amount)),
		}
		return idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (receipt, error) {
			charges++
			return receipt{fmt.Sprint("ch_", charges), amount}, nil
		})
	}

	fmt.Println(charge("key-1", 10))
	fmt.Println(charge("key-1", 10))
	_, err := charge("key-1", 99)
	fmt.Println(apierror.CodeOf(err))
	// Output:
	// {ch_1 10} <nil>
	// {ch_1 10} <nil>
	// idempotency_conflict
}

// A client of the Model Context Protocol repeats a tool call whose result it did not see. The
// tool runs once for each key.
func ExampleDo_toolCall() {
	type toolCall struct {
		Tool      string          `json:"tool"`
		Key       string          `json:"key"`
		Arguments json.RawMessage `json:"arguments"`
	}
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), nil)
	sent := 0
	serve := func(session, message string) {
		var c toolCall
		if err := json.Unmarshal([]byte(message), &c); err != nil {
			fmt.Println("invalid message")
			return
		}
		call := idempotent.Call{
			Principal:   session, // the authenticated client
			Key:         c.Key,
			Fingerprint: sha256.Sum256(append([]byte(c.Tool+"\x00"), c.Arguments...)),
		}
		text, err := idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (string, error) {
			if err := idempotent.BeginEffect(ctx); err != nil {
				return "", err
			}
			sent++
			return fmt.Sprintf("mail %d is sent", sent), nil
		})
		if err != nil {
			text = "error: " + string(apierror.CodeOf(err))
		}
		fmt.Println(text)
	}

	serve("session-1", `{"tool":"send_mail","key":"call-1","arguments":{"to":"a@example.com"}}`)
	serve("session-1", `{"tool":"send_mail","key":"call-1","arguments":{"to":"a@example.com"}}`)
	serve("session-1", `{"tool":"send_mail","key":"call-1","arguments":{"to":"b@example.com"}}`)
	serve("session-2", `{"tool":"send_mail","key":"call-1","arguments":{"to":"b@example.com"}}`)
	// Output:
	// mail 1 is sent
	// mail 1 is sent
	// error: idempotency_conflict
	// mail 2 is sent
}

// A queue delivers each message at least once. The ID of the message is the key, and the message
// is acknowledged after its result is recorded.
func ExampleDo_queueConsumer() {
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), &idempotent.Options{Namespace: "orders"})
	warehouseDown := true
	packed := 0
	deliver := func(messageID string) (acknowledged bool) {
		call := idempotent.Call{Principal: idempotent.GlobalPrincipal, Key: messageID}
		_, err := idempotent.Do(context.Background(), guard, call, func(context.Context) (struct{}, error) {
			if warehouseDown {
				return struct{}{}, errors.New("the warehouse is down") // frees the key
			}
			packed++
			return struct{}{}, nil
		})
		return err == nil
	}

	fmt.Println(deliver("message-1"))
	warehouseDown = false
	fmt.Println(deliver("message-1"))
	fmt.Println(deliver("message-1")) // the acknowledgment was lost
	fmt.Println("packed:", packed)
	// Output:
	// false
	// true
	// true
	// packed: 1
}

// Goroutines share a guard. Of concurrent calls with the same key, one runs, and the others
// get its value.
func ExampleNewGuard() {
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), &idempotent.Options{Namespace: "reports"})
	runs := 0
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			call := idempotent.Call{Principal: "customer-1", Key: "key-1"}
			report, err := idempotent.Do(context.Background(), guard, call, func(context.Context) (string, error) {
				runs++
				return "report 1", nil
			})
			fmt.Println(report, err)
		})
	}
	wg.Wait()
	fmt.Println("runs:", runs)
	// Output:
	// report 1 <nil>
	// report 1 <nil>
	// report 1 <nil>
	// runs: 1
}
