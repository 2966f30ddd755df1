package service

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// charge is the body of POST /charge.
type charge struct {
	Key    string      `json:"key"`
	Way    history.Way `json:"way"`
	Amount int         `json:"amount"`
	Run    string      `json:"run"`
}

// settlement is the answer of POST /settle.
type settlement struct {
	None    bool            `json:"none,omitempty"` // there is no charge, and there will be none
	Receipt *history.Answer `json:"receipt,omitempty"`
}

// provider is a payment provider. It takes idempotency keys: a charge with a key that it has seen
// is answered with the first receipt.
type provider struct {
	history *history.Writer

	mu       sync.Mutex
	receipts map[string]history.Answer // by Idempotency-Key
	first    map[payment]history.Answer
	closed   map[payment]bool // settled without a charge
}

// A payment is what an operator asks about. If a store has lost a record, the key can have another
// one, for another amount.
type payment struct {
	key    string
	amount int
}

func (c charge) payment() payment { return payment{c.Key, c.Amount} }

func newProvider(w *history.Writer) http.Handler {
	p := &provider{
		history:  w,
		receipts: make(map[string]history.Answer),
		first:    make(map[payment]history.Answer),
		closed:   make(map[payment]bool),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charge", p.serveCharge)
	mux.HandleFunc("POST /settle", p.serveSettle)
	return mux
}

func (p *provider) serveCharge(w http.ResponseWriter, r *http.Request) {
	var c charge
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.Key == "" {
		http.Error(w, "not a charge", http.StatusBadRequest)
		return
	}
	receipt, ok := p.charge(c, r.Header.Get("Idempotency-Key"))
	if !ok {
		http.Error(w, "the payment was settled without a charge", http.StatusConflict)
		return
	}
	reply(w, http.StatusOK, receipt)
}

// charge makes the charge, unless it was made under this idempotency key. It reports false if the
// payment was settled. It holds the lock while it writes the effect, so that of two
// requests with one idempotency key, the second one waits for the receipt.
func (p *provider) charge(c charge, idempotencyKey string) (receipt history.Answer, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if receipt, ok = p.receipts[idempotencyKey]; ok && idempotencyKey != "" {
		return receipt, true
	}
	if p.closed[c.payment()] {
		return history.Answer{}, false
	}
	receipt = history.Answer{Key: c.Key, Amount: c.Amount, Run: c.Run}
	p.history.Write(history.Event{Effect: &history.Effect{
		Key: c.Key, Way: c.Way, Amount: c.Amount, Run: c.Run, At: history.Now(),
	}})
	if idempotencyKey != "" {
		p.receipts[idempotencyKey] = receipt
	}
	if _, again := p.first[c.payment()]; !again {
		p.first[c.payment()] = receipt
	}
	return receipt, true
}

func (p *provider) serveSettle(w http.ResponseWriter, r *http.Request) {
	var c charge
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.Key == "" {
		http.Error(w, "not a payment", http.StatusBadRequest)
		return
	}
	reply(w, http.StatusOK, p.settle(c.payment()))
}

// settle returns the first charge of a payment. If there is none, there never will be.
func (p *provider) settle(x payment) settlement {
	p.mu.Lock()
	defer p.mu.Unlock()
	if receipt, ok := p.first[x]; ok {
		return settlement{Receipt: &receipt}
	}
	p.closed[x] = true
	return settlement{None: true}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has left asks again
}
