package retry

import (
	"errors"
	"io"
	"sync"
)

// recorder records the beginning of a body that can be read only once, so that another
// attempt can read it again. The body is read only when an attempt reads it, never ahead
// of time: the writer of a stream may wait for an answer before it sends more. An attempt
// that reads more than limit ends the recording.
//
// The base transport may still read for one attempt when the next one begins. The bytes
// that it reads then are recorded for the next one.
type recorder struct {
	body  io.ReadCloser
	limit int64

	// reading is a lock for reads of the body. It is a channel because a read may take long.
	reading chan struct{}

	mu       sync.Mutex
	recorded []byte
	bodyErr  error // that the body's reader returned, io.EOF included
	overflow bool  // the recording has ended
	current  *recordedBody
	ended    bool // no attempt follows
	closed   bool // the body is closed
}

func newRecorder(body io.ReadCloser, limit int64) *recorder {
	return &recorder{body: body, limit: limit, reading: make(chan struct{}, 1)}
}

// open returns the reader for the next attempt, and closes the reader of the previous
// attempt.
func (r *recorder) open() io.ReadCloser {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		r.current.closed = true
	}
	r.current = &recordedBody{rec: r}
	return r.current
}

// reopen is the GetBody of an attempt's request.
func (r *recorder) reopen() (io.ReadCloser, error) {
	if !r.rewind() {
		return nil, errors.New("retry: more of the request body was sent than is recorded")
	}
	return r.open(), nil
}

// rewind reports whether the recording is complete. If it is, rewind closes the current
// attempt's reader, which could otherwise read past the limit and end the recording.
func (r *recorder) rewind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.overflow && r.current != nil {
		r.current.closed = true
	}
	return !r.overflow
}

func (r *recorder) replayable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.overflow
}

// end closes the body, once the last attempt has closed its reader.
func (r *recorder) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	_ = r.closeIfUnused()
}

// closeIfUnused closes the body if no attempt needs it anymore. The caller must not hold
// mu, since closing may take long.
func (r *recorder) closeIfUnused() error {
	r.mu.Lock()
	unused := r.ended && !r.closed && (r.current == nil || r.current.closed)
	r.closed = r.closed || unused
	r.mu.Unlock()
	if !unused {
		return nil
	}
	return r.body.Close()
}

// recordedBody is one attempt's reader.
type recordedBody struct {
	rec    *recorder
	at     int  // how much of rec.recorded it has read
	closed bool // guarded by rec.mu
}

var errClosedBody = errors.New("retry: read of a closed request body")

func (b *recordedBody) Read(p []byte) (int, error) {
	if n, err, ok := b.replay(p); ok {
		return n, err
	}
	b.rec.reading <- struct{}{}
	defer func() { <-b.rec.reading }()
	if n, err, ok := b.replay(p); ok { // an earlier attempt's reader may have read in the meantime
		return n, err
	}
	n, err := b.rec.body.Read(p)
	return b.record(p[:n], err)
}

// replay reads from the recording. ok is false if the body itself must be read.
func (b *recordedBody) replay(p []byte) (n int, err error, ok bool) {
	r := b.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case b.closed:
		return 0, errClosedBody, true
	case b.at < len(r.recorded):
		n = copy(p, r.recorded[b.at:])
		b.at += n
		return n, nil, true
	case r.bodyErr != nil:
		return 0, r.bodyErr, true
	default:
		return 0, nil, false
	}
}

// record adds p, which was read from the body, to the recording. The reader of an attempt
// that has ended cannot end the recording.
func (b *recordedBody) record(p []byte, err error) (int, error) {
	r := b.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.bodyErr = err
	}
	if !b.closed && int64(len(r.recorded)+len(p)) > r.limit {
		r.overflow, r.recorded, b.at = true, nil, 0
	}
	if !r.overflow {
		r.recorded = append(r.recorded, p...)
		b.at += len(p)
	}
	if b.closed {
		return 0, errClosedBody
	}
	return len(p), err
}

func (b *recordedBody) Close() error {
	b.rec.mu.Lock()
	b.closed = true
	b.rec.mu.Unlock()
	return b.rec.closeIfUnused()
}
