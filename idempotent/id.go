package idempotent

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// An ID names a record. It is a SHA-256 hash, so that no key reaches a store, a log or an event.
// See [Options.ID].
type ID [32]byte

// A Token proves ownership of a record. It is 16 random bytes.
type Token [16]byte

// A Fingerprint is the hash of what makes two requests the same: see [FingerprintFunc]. A key that
// comes with another fingerprint is refused with 409 idempotency_conflict.
type Fingerprint [32]byte

// NewToken returns a token from the system's cryptographic source.
func NewToken() (t Token) {
	rand.Read(t[:]) // never fails: crypto/rand ends the program if the system has no randomness
	return t
}

// String returns the ID in hexadecimal: 64 characters.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// String returns the token in hexadecimal: 32 characters.
func (t Token) String() string { return hex.EncodeToString(t[:]) }

// String returns the fingerprint in hexadecimal: 64 characters.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Value implements [driver.Valuer]. It returns the bytes, for a column such as bytea or BLOB.
func (id ID) Value() (driver.Value, error) { return id[:], nil }

// Value implements [driver.Valuer]. It returns the bytes, for a column such as bytea or BLOB.
func (t Token) Value() (driver.Value, error) { return t[:], nil }

// Value implements [driver.Valuer]. It returns the bytes, for a column such as bytea or BLOB.
func (f Fingerprint) Value() (driver.Value, error) { return f[:], nil }

// Scan implements [database/sql.Scanner]. It takes the bytes that Value returns and nothing else.
// An error leaves id as it was.
func (id *ID) Scan(src any) error { return scan(id[:], src) }

// Scan implements [database/sql.Scanner]. It takes the bytes that Value returns and nothing else.
// An error leaves t as it was.
func (t *Token) Scan(src any) error { return scan(t[:], src) }

// Scan implements [database/sql.Scanner]. It takes the bytes that Value returns and nothing else.
// An error leaves f as it was.
func (f *Fingerprint) Scan(src any) error { return scan(f[:], src) }

// MarshalText implements [encoding.TextMarshaler]. It returns the text of String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements [encoding.TextMarshaler]. It returns the text of String.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText implements [encoding.TextMarshaler]. It returns the text of String.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It takes the text that MarshalText
// returns, in lower or upper case, and nothing else. An error leaves id as it was.
func (id *ID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It takes the text that MarshalText
// returns, in lower or upper case, and nothing else. An error leaves t as it was.
func (t *Token) UnmarshalText(text []byte) error { return unhex(t[:], text) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It takes the text that MarshalText
// returns, in lower or upper case, and nothing else. An error leaves f as it was.
func (f *Fingerprint) UnmarshalText(text []byte) error { return unhex(f[:], text) }

// scan fills to with the bytes of a column. On an error to is left as it was.
func scan(to []byte, src any) error {
	b, ok := src.([]byte)
	if !ok {
		return fmt.Errorf("idempotent: cannot scan a %T: want %d bytes", src, len(to))
	}
	if len(b) != len(to) {
		return fmt.Errorf("idempotent: cannot scan %d bytes: want %d", len(b), len(to))
	}
	copy(to, b)
	return nil
}

// unhex fills to from hexadecimal text. On an error to is left as it was.
func unhex(to, text []byte) error {
	b := make([]byte, len(to))
	if len(text) != hex.EncodedLen(len(to)) {
		return fmt.Errorf("idempotent: %d characters: want %d", len(text), hex.EncodedLen(len(to)))
	}
	if _, err := hex.Decode(b, text); err != nil {
		return fmt.Errorf("idempotent: not hexadecimal: %w", err)
	}
	copy(to, b)
	return nil
}

// hashOf is SHA-256 over parts, or HMAC-SHA-256 with a secret. Each part is preceded by its
// length, so that no two lists of parts run together to the same bytes.
func hashOf(secret []byte, parts ...string) [32]byte {
	b := make([]byte, 0, 512) // room for a key and its principal, not on the heap
	for _, p := range parts {
		b = appendPart(b, p)
	}
	if len(secret) == 0 {
		return sha256.Sum256(b)
	}
	h := hmac.New(sha256.New, secret)
	h.Write(slices.Clone(b)) // so that b stays on the stack
	return [32]byte(h.Sum(nil))
}

func appendPart(b []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
}
