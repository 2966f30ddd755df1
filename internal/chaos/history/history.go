// Package history has the events of a run: what clients sent and were answered, which effects
// happened, and which faults hit. Every process appends its events to its own file, so that SIGKILL
// loses none that it has written.
package history

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Way is how the service makes an effect happen once.
type Way string

// The ways. The effect of the first three is a charge at a payment provider. That of the others is
// a row in the database that has the records.
const (
	Plain         Way = "plain"         // nothing but the record
	BeginEffect   Way = "BeginEffect"   // idempotent.BeginEffect before the charge
	DerivedKey    Way = "DerivedKey"    // the provider gets idempotent.DerivedKey
	Executor      Way = "Executor"      // the store's transaction has the effect
	FinishTx      Way = "FinishTx"      // the handler's transaction records its response
	BeginEffectTx Way = "BeginEffectTx" // the handler's transaction has the mark
)

// Ways returns all ways.
func Ways() []Way {
	return []Way{Plain, BeginEffect, DerivedKey, Executor, FinishTx, BeginEffectTx}
}

// Transactional reports whether the effect is a row in the database of the records.
func (w Way) Transactional() bool { return w == Executor || w == FinishTx || w == BeginEffectTx }

// A Window is a place in the protocol. The server has failpoints there.
type Window string

// The windows, in the order of a request. A window exists only in the ways that have the step.
const (
	BeforeClaim  Window = "before claim"  // the request has arrived
	AfterClaim   Window = "after claim"   // the store has granted the claim, and the handler begins
	BeforeMark   Window = "before mark"   // BeginEffect, or BeginEffectTx
	AfterMark    Window = "after mark"    // it has returned nil, or its reply is on the way
	BeforeEffect Window = "before effect" // the charge, or the INSERT
	AfterEffect  Window = "after effect"  //
	BeforeCommit Window = "before commit" // of the handler's or the Executor's transaction
	AfterCommit  Window = "after commit"  //
	BeforeFinish Window = "before finish" // the store's Finish
	AfterFinish  Window = "after finish"  //
	BeforeReply  Window = "before reply"  // the first byte of the response
	AfterReply   Window = "after reply"   // the handler's last write is done
	OnTheWay     Window = "on the way"    // between the client and the server, in a proxy
)

// Windows returns all windows.
func Windows() []Window {
	return []Window{
		BeforeClaim, AfterClaim, BeforeMark, AfterMark, BeforeEffect, AfterEffect, BeforeCommit, AfterCommit,
		BeforeFinish, AfterFinish, BeforeReply, AfterReply, OnTheWay,
	}
}

// An Action is what happens in a window.
type Action string

// The actions of failpoints in a server. Kill and Stop are real signals. Lose, Refuse, Down and
// Full are errors of the failpoint. Stores, and the ways to them, also fail themselves: see Period.
const (
	Kill    Action = "kill"    // the process ends with SIGKILL
	Stop    Action = "stop"    // the process stops with SIGSTOP for longer than the lease
	Pause   Action = "pause"   // only this run stops, for longer than the lease; renewals go on
	Lose    Action = "lose"    // the call of the store or the provider, or the COMMIT, takes effect, but fails
	Refuse  Action = "refuse"  // the call of the store, or the COMMIT, fails and has no effect
	Down    Action = "down"    // the calls of the store for this key fail in this process, for longer than the lease
	Full    Action = "full"    // the call of the store fails, because it has no room for the response
	Panic   Action = "panic"   // the handler panics
	Fail    Action = "fail"    // the handler answers 500
	Decline Action = "decline" // the handler answers 402, which is recorded
	Forget  Action = "forget"  // the handler calls Forget and answers 409
	Overrun Action = "overrun" // the handler runs until its context ends at MaxRun
	Large   Action = "large"   // the response is over MaxResponse
)

// The actions of a proxy between a client and a server. Each hits one request.
const (
	Delay     Action = "delay"     // the request arrives late
	Duplicate Action = "duplicate" // the request arrives twice, at the same time or one after the other
	Cut       Action = "cut"       // the request arrives, and the connection of the client is cut before the response
	DropReply Action = "drop"      // the response is dropped after the server has sent it
	Half      Action = "half"      // only a part of the body arrives
	Unsent    Action = "unsent"    // the connection is cut before the request arrives
)

// An Event is one line of a file. Exactly one field is set.
type Event struct {
	Call   *Call   `json:"call,omitempty"`
	Return *Return `json:"return,omitempty"`
	Effect *Effect `json:"effect,omitempty"`
	End    *End    `json:"end,omitempty"`
	Hit    *Hit    `json:"hit,omitempty"`
	Period *Period `json:"period,omitempty"`
}

// A Call is a client's request, which may take several attempts. Key includes the principal:
// principal/key.
type Call struct {
	ID     string `json:"id"` // unique
	Key    string `json:"key"`
	Way    Way    `json:"way"`
	Client int    `json:"client"`
	Server string `json:"server"` // without its incarnation, such as "s1"
	Amount int    `json:"amount"` // of the charge; another amount under the same key is a conflict
	At     int64  `json:"at"`     // see Now
}

// A Return is the end of a Call. It does not exist if the client was killed.
type Return struct {
	ID       string `json:"id"`
	At       int64  `json:"at"`
	Status   int    `json:"status"`         // 0 if there was no response
	Code     string `json:"code,omitempty"` // of the error
	Answer   Answer `json:"answer"`         // of a 201 or 402; otherwise empty
	Replayed bool   `json:"replayed,omitempty"`
	Attempts int    `json:"attempts"`
	Err      string `json:"err,omitempty"`
}

// CircuitOpen is the Err of a Return if the client did not send the request, or not again. It has
// not seen what the attempts before were answered.
const CircuitOpen = "circuit open"

// An Answer is the body of a response that says that the effect has happened (201), or that it
// never will under this key (402).
type Answer struct {
	Key    string `json:"key,omitempty"`
	Amount int    `json:"amount,omitempty"`
	Run    string `json:"run,omitempty"` // the run that has made it: server.incarnation-number
}

// An Effect is a charge that the provider has made, or a row in the database.
type Effect struct {
	Key    string `json:"key"`
	Way    Way    `json:"way"`
	Amount int    `json:"amount"`
	Run    string `json:"run"`
	At     int64  `json:"at"` // 0 if it is not known
}

// An End is how a run ended as its server saw it, unless it ended with a recorded response. It does
// not exist if the process died. Outcome and Lost are those of the idempotent.Event.
type End struct {
	Key     string `json:"key"`
	Run     string `json:"run"`
	Outcome string `json:"outcome"`
	Lost    bool   `json:"lost,omitempty"`
	Status  int    `json:"status,omitempty"`
	Err     string `json:"err,omitempty"`
	At      int64  `json:"at"`
}

// A Hit is a fault in a window of one request. It is written before the fault. Run is empty before
// the handler runs, and in a proxy.
type Hit struct {
	Key    string `json:"key"`
	Way    Way    `json:"way"`
	Window Window `json:"window"`
	Action Action `json:"action"`
	Server string `json:"server"` // server.incarnation; in a proxy, the one for which the request is
	Run    string `json:"run,omitempty"`
	At     int64  `json:"at"`
}

// A Period is a time during which a process, or the way between two, was in trouble. That of a
// process that was killed lasts until its next incarnation is ready. Processes that end with the
// episode have none.
type Period struct {
	Kind   string `json:"kind"`   // "kill", "stop", or that of a stores.Fault, such as "down", "full", "clock back"
	Target string `json:"target"` // a process with its incarnation, such as "s1.3"; "store 2"; a way, such as "s1-store"
	From   int64  `json:"from"`
	To     int64  `json:"to"`
}

// Now returns the time on the clock that all processes of the machine share, in nanoseconds since
// the machine started. It never jumps.
func Now() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	return t.Nano()
}

// Sleep waits for d, if it is over zero, and reports false if ctx has ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// A Writer appends events to a file. It is safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	file *os.File
}

// Create returns a Writer for a new or existing file.
func Create(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // of this run
	if err != nil {
		return nil, err
	}
	return &Writer{file: f}, nil
}

// Write appends an event with one system call. An error ends the process: without its history, a
// run proves nothing.
func (w *Writer) Write(e Event) {
	line, err := json.Marshal(e)
	if err == nil {
		w.mu.Lock()
		_, err = w.file.Write(append(line, '\n'))
		w.mu.Unlock()
	}
	if err != nil {
		panic(fmt.Sprintf("history: %v", err))
	}
}

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

// A History is what happened in an episode.
type History struct {
	Calls   []Call
	Returns map[string]Return // by the ID of the call
	Effects []Effect
	Ends    []End
	Hits    []Hit
	Periods []Period
}

// Read returns the events of the files whose names match a pattern of [filepath.Glob].
func Read(pattern string) (*History, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	h := &History{Returns: make(map[string]Return)}
	for _, file := range files {
		f, err := os.Open(file) //nolint:gosec // of this run
		if err != nil {
			return nil, err
		}
		err = errors.Join(h.read(f), f.Close())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return h, nil
}

// read adds the events of a file. A last line without an end is that of a process that was killed.
func (h *History) read(r io.Reader) error {
	b := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := b.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e Event
		if err := json.NewDecoder(strings.NewReader(line)).Decode(&e); err != nil {
			return fmt.Errorf("%w: %s", err, line)
		}
		h.Add(e)
	}
}

// Add adds an event.
func (h *History) Add(e Event) {
	switch {
	case e.Call != nil:
		h.Calls = append(h.Calls, *e.Call)
	case e.Return != nil:
		h.Returns[e.Return.ID] = *e.Return
	case e.Effect != nil:
		h.Effects = append(h.Effects, *e.Effect)
	case e.End != nil:
		h.Ends = append(h.Ends, *e.End)
	case e.Hit != nil:
		h.Hits = append(h.Hits, *e.Hit)
	case e.Period != nil:
		h.Periods = append(h.Periods, *e.Period)
	}
}
