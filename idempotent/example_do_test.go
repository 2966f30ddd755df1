package idempotent_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func ExampleDo() {
	type receipt struct {
		ID     string
		Amount int
	}
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), nil) // made once, shared
	charges := 0
	charge := func(key string, amount int) (receipt, error) {
		call := idempotent.Call{
			Principal:   "customer-1",
			Key:         key,
			Fingerprint: sha256.Sum256(fmt.Append(nil, "charge ", amount)), // what is asked for
		}
		return idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (receipt, error) {
			if err := idempotent.BeginEffect(ctx); err != nil {
				return receipt{}, err
			}
			charges++
			return receipt{fmt.Sprint("ch_", charges), amount}, nil
		})
	}

	fmt.Println(charge("key-1", 10))
	fmt.Println(charge("key-1", 10)) // the reply was lost: the caller tries again
	_, err := charge("key-1", 99)
	fmt.Println(apierror.CodeOf(err))
	// Output:
	// {ch_1 10} <nil>
	// {ch_1 10} <nil>
	// idempotency_conflict
}

// toolCall is a call of a tool by a language model's client, as in the Model Context Protocol.
// The client repeats a call whose result it did not see, with the same key.
type toolCall struct {
	Tool      string          `json:"tool"`
	Key       string          `json:"key"`
	Arguments json.RawMessage `json:"arguments"`
}

// A tool that has effects runs once per key, although the model's client asks again.
func ExampleDo_toolCall() {
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), nil)
	sent := 0
	sendMail := func(ctx context.Context, arguments json.RawMessage) (string, error) {
		var mail struct{ To string }
		if err := json.Unmarshal(arguments, &mail); err != nil || mail.To == "" {
			return "", apierror.ParameterMissing("To") // kept: the same call has the same fault
		}
		if err := idempotent.BeginEffect(ctx); err != nil {
			return "", err
		}
		sent++
		return fmt.Sprintf("mail %d to %s", sent, mail.To), nil
	}
	serve := func(session string, message string) {
		var c toolCall
		if err := json.Unmarshal([]byte(message), &c); err != nil {
			fmt.Println("invalid message")
			return
		}
		call := idempotent.Call{
			Principal:   session, // whom the transport has authenticated
			Key:         c.Key,
			Fingerprint: sha256.Sum256(append([]byte(c.Tool+"\x00"), c.Arguments...)),
		}
		text, err := idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (string, error) {
			return sendMail(ctx, c.Arguments)
		})
		if err != nil {
			text = "error: " + string(apierror.CodeOf(err))
		}
		fmt.Println(text)
	}

	serve("session-1", `{"tool":"send_mail","key":"call-1","arguments":{"To":"a@example.com"}}`)
	serve("session-1", `{"tool":"send_mail","key":"call-1","arguments":{"To":"a@example.com"}}`)
	serve("session-1", `{"tool":"send_mail","key":"call-1","arguments":{"To":"b@example.com"}}`)
	serve("session-1", `{"tool":"send_mail","key":"call-2","arguments":{}}`)
	serve("session-2", `{"tool":"send_mail","key":"call-1","arguments":{"To":"b@example.com"}}`)
	// Output:
	// mail 1 to a@example.com
	// mail 1 to a@example.com
	// error: idempotency_conflict
	// error: parameter_missing
	// mail 2 to b@example.com
}

// A consumer of a queue that delivers at least once. The ID of the message is the key, and the
// message is acknowledged once its answer is recorded.
func ExampleDo_queueConsumer() {
	type message struct {
		ID    string
		Order string
	}
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), &idempotent.Options{Namespace: "orders-consumer"})
	packed := map[string]int{}
	down := true
	pack := func(_ context.Context, m message) (struct{}, error) {
		switch {
		case m.Order == "":
			return struct{}{}, apierror.ParameterMissing("order") // kept: it will never work
		case down:
			down = false
			return struct{}{}, fmt.Errorf("the warehouse does not answer") // frees the key
		}
		packed[m.Order]++
		return struct{}{}, nil
	}
	deliver := func(m message) (ack bool) {
		call := idempotent.Call{Principal: idempotent.GlobalPrincipal, Key: m.ID} // all messages are the queue's
		_, err := idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (struct{}, error) {
			return pack(ctx, m)
		})
		switch {
		case err == nil:
			return true
		case apierror.CodeOf(err) == "", apierror.From(err).Retryable(): // an unknown outcome is not
			return false // the queue delivers it again, later
		default:
			fmt.Println("to the dead letters:", apierror.CodeOf(err))
			return true
		}
	}

	fmt.Println("ack", deliver(message{"m-1", "o-1"}))
	fmt.Println("ack", deliver(message{"m-1", "o-1"}))
	fmt.Println("ack", deliver(message{"m-1", "o-1"})) // the acknowledgment was lost
	fmt.Println("ack", deliver(message{"m-2", ""}))
	fmt.Println("packed", packed)
	// Output:
	// ack false
	// ack true
	// ack true
	// to the dead letters: parameter_missing
	// ack true
	// packed map[o-1:1]
}

// A long job is handed to a job queue that takes one job per key. The derived key is the same in
// every attempt, so a call that is cut off after it has handed over does not start the job
// twice.
func ExampleDerivedKey() {
	jobs := map[string]string{} // the queue: a second job with a key is the first one
	enqueue := func(key, job string) string {
		if _, ok := jobs[key]; !ok {
			jobs[key] = fmt.Sprint("job-", len(jobs)+1, " ", job)
		}
		return jobs[key]
	}
	guard := idempotent.NewGuard(idempotent.NewMemory(nil), &idempotent.Options{Secret: []byte("the service's secret")})
	cutOff := true
	export := func(key string) (string, error) {
		call := idempotent.Call{Principal: "customer-1", Key: key}
		return idempotent.Do(context.Background(), guard, call, func(ctx context.Context) (string, error) {
			job := enqueue(idempotent.DerivedKey(ctx, "export"), "export")
			if cutOff {
				cutOff = false
				return "", fmt.Errorf("the connection broke")
			}
			return job, nil
		})
	}

	_, err := export("key-1")
	fmt.Println(err)
	fmt.Println(export("key-1"))
	fmt.Println(export("key-1"))
	fmt.Println(export("key-2"))
	fmt.Println(len(jobs), "jobs")
	// Output:
	// the connection broke
	// job-1 export <nil>
	// job-1 export <nil>
	// job-2 export <nil>
	// 2 jobs
}
