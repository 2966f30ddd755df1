// Package reqid makes and checks request ids.
package reqid

import "crypto/rand"

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
	// Bytes from 248 on are thrown away, so that every character is as likely as another; with 24 bytes a second read is
	// needed once in 20 million ids.
	const unbiased = 256 - 256%len(alphabet)
	var id [len(prefix) + length]byte
	n := copy(id[:], prefix)
	var random [24]byte
	for n < len(id) {
		rand.Read(random[:]) // never fails: crypto/rand ends the program where the system has no randomness
		for _, b := range random {
			if n < len(id) && int(b) < unbiased {
				id[n] = alphabet[int(b)%len(alphabet)]
				n++
			}
		}
	}
	return string(id[:])
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
