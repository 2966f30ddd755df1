// Package reqid makes and checks request ids.
package reqid

import (
	"crypto/rand"
	"sync"
)

const (
	prefix   = "req_"
	length   = 16
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	// MaxLen is the length of the longest id that is taken from a peer.
	MaxLen = 128
)

// New returns "req_" and 16 base62 characters (95 bits) from the system's cryptographic source. There is no time, counter or
// host name in it.
func New() string {
	// Bytes from 248 on are thrown away, so that every character is as likely as another.
	const unbiased = 256 - 256%len(alphabet)
	var id [len(prefix) + length]byte
	stock := stocks.Get().(*stock)
	for n := copy(id[:], prefix); n < len(id); {
		if b := int(stock.take()); b < unbiased {
			id[n] = alphabet[b%len(alphabet)]
			n++
		}
	}
	stocks.Put(stock)
	return string(id[:])
}

// stock holds random bytes: asking the system for each id's own would take longer than all the rest of making it. They
// are used once and erased. A process that is copied while it runs (a snapshot of a virtual machine) may make an id twice; what
// must not repeat even then, such as a key, is no request id.
type stock struct {
	bytes [512]byte // for about 30 ids
	left  int
}

var stocks = sync.Pool{New: func() any { return new(stock) }}

func (s *stock) take() byte {
	if s.left == 0 {
		s.fill()
	}
	s.left--
	b := s.bytes[s.left]
	s.bytes[s.left] = 0
	return b
}

func (s *stock) fill() {
	rand.Read(s.bytes[:]) // never fails: crypto/rand ends the program where the system has no randomness
	s.left = len(s.bytes)
}

// Valid tells whether an id that a peer sent may be used as it is: 1 to 128 of A-Z a-z 0-9 . _ -
func Valid(id string) bool {
	if id == "" || len(id) > MaxLen {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
