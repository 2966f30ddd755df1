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

// An ID is the key of a record in a store. It is a SHA-256 hash, or an HMAC with
// [Options].Secret, so that no client's key reaches a store, a log or an event. See
// [Options.ID].
type ID [32]byte

// A Token proves ownership of a record. It is 16 random bytes.
type Token [16]byte

// A Fingerprint is a hash by which requests with the same key are compared. A request with
// the same key and another fingerprint is answered 409 idempotency_conflict. See
// [FingerprintFunc].
type Fingerprint [32]byte

// NewToken returns a random token from crypto/rand.
func NewToken() (t Token) {
	rand.Read(t[:]) // never returns an error
	return t
}

// String returns the ID in hexadecimal: 64 characters.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// String returns the token in hexadecimal: 32 characters.
func (t Token) String() string { return hex.EncodeToString(t[:]) }

// String returns the fingerprint in hexadecimal: 64 characters.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Value implements [driver.Valuer]. It returns bytes, for a column such as bytea or BLOB.
func (id ID) Value() (driver.Value, error) { return id[:], nil }

// Value implements [driver.Valuer]. It returns bytes, for a column such as bytea or BLOB.
func (t Token) Value() (driver.Value, error) { return t[:], nil }

// Value implements [driver.Valuer]. It returns bytes, for a column such as bytea or BLOB.
func (f Fingerprint) Value() (driver.Value, error) { return f[:], nil }

// Scan implements [database/sql.Scanner]. It accepts only what Value returns. After an error,
// id is unchanged.
func (id *ID) Scan(src any) error { return scan(id[:], src) }

// Scan implements [database/sql.Scanner]. It accepts only what Value returns. After an error,
// t is unchanged.
func (t *Token) Scan(src any) error { return scan(t[:], src) }

// Scan implements [database/sql.Scanner]. It accepts only what Value returns. After an error,
// f is unchanged.
func (f *Fingerprint) Scan(src any) error { return scan(f[:], src) }

// MarshalText implements [encoding.TextMarshaler]. It returns the result of String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements [encoding.TextMarshaler]. It returns the result of String.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText implements [encoding.TextMarshaler]. It returns the result of String.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts what MarshalText returns,
// in lower or upper case. After an error, id is unchanged.
func (id *ID) UnmarshalText(text []byte) error { return unhex(id[:], text) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts what MarshalText returns,
// in lower or upper case. After an error, t is unchanged.
func (t *Token) UnmarshalText(text []byte) error { return unhex(t[:], text) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts what MarshalText returns,
// in lower or upper case. After an error, f is unchanged.
func (f *Fingerprint) UnmarshalText(text []byte) error { return unhex(f[:], text) }

// scan copies the bytes of a column into to. After an error, to is unchanged.
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

// unhex decodes hexadecimal text into to. After an error, to is unchanged.
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

// hashOf returns the SHA-256 hash of the parts, or their HMAC-SHA-256 if there is a secret.
// Each part is preceded by its length, so that different lists of parts have different
// hashes.
func hashOf(secret []byte, parts ...string) [32]byte {
	b := make([]byte, 0, 512) // stays on the stack for a typical key and principal
	for _, p := range parts {
		b = appendPart(b, p)
	}
	if len(secret) == 0 {
		return sha256.Sum256(b)
	}
	h := hmac.New(sha256.New, secret)
	h.Write(slices.Clone(b)) // b itself would move to the heap
	return [32]byte(h.Sum(nil))
}

func appendPart(b []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
}
