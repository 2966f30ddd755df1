package retry

import (
	"errors"
	"io"
	"sync"
)

// recorder remembers the beginning of a body that can be read once, as attempts read it, so that another attempt can read it
// again, and the rest after it. When an attempt has read more than limit, the recording is given up.
//
// The base transport may still be reading for an earlier attempt while the next one begins. What that reads is recorded too,
// so nothing is lost, and only one of them reads from the source at a time.
type recorder struct {
	src   io.ReadCloser
	limit int64

	reading chan struct{} // full while somebody reads from src: no mutex, since that may take its time

	mu        sync.Mutex
	head      []byte
	srcErr    error // of src, io.EOF too
	srcClosed bool
	over      bool // the recording was given up
	ended     bool // there is no further attempt
	current   *recordedBody
}

// open returns the reader for the next attempt. The one before it reads no more.
func (r *recorder) open() io.ReadCloser {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		r.current.closed = true
	}
	r.current = &recordedBody{rec: r}
	return r.current
}

// reopen is open for who does not ask whether the body is replayable.
func (r *recorder) reopen() (io.ReadCloser, error) {
	if !r.rewind() {
		return nil, errors.New("retry: more of the request body was sent than is recorded")
	}
	return r.open(), nil
}

// rewind ends the current attempt's reader, so that it cannot give the recording up any more. It is false if it already has.
func (r *recorder) rewind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over && r.current != nil {
		r.current.closed = true
	}
	return !r.over
}

func (r *recorder) replayable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.over
}

// end closes the source as soon as the last attempt is through with it.
func (r *recorder) end() {
	r.mu.Lock()
	r.ended = true
	r.unlockAndClose()
}

// unlockAndClose is called with mu locked. It unlocks it, since closing may take its time, and closes the source if nobody
// needs that any more.
func (r *recorder) unlockAndClose() error {
	due := r.ended && !r.srcClosed && (r.current == nil || r.current.closed)
	r.srcClosed = r.srcClosed || due
	r.mu.Unlock()
	if !due {
		return nil
	}
	return r.src.Close()
}

// recordedBody is one attempt's reader.
type recordedBody struct {
	rec    *recorder
	at     int  // how much of rec.head it has read
	closed bool // guarded by rec.mu
}

var errClosedBody = errors.New("retry: read of a closed request body")

func (b *recordedBody) Read(p []byte) (int, error) {
	if n, err, ok := b.readHead(p); ok {
		return n, err
	}
	b.rec.reading <- struct{}{}
	defer func() { <-b.rec.reading }()
	if n, err, ok := b.readHead(p); ok { // an earlier attempt's reader was waiting for the same bytes
		return n, err
	}
	n, err := b.rec.src.Read(p)
	return b.record(p[:n], err)
}

// readHead reads what is recorded; ok is false where the source must be asked.
func (b *recordedBody) readHead(p []byte) (n int, err error, ok bool) {
	r := b.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case b.closed:
		return 0, errClosedBody, true
	case b.at < len(r.head):
		n = copy(p, r.head[b.at:])
		b.at += n
		return n, nil, true
	case r.srcErr != nil:
		return 0, r.srcErr, true
	default:
		return 0, nil, false
	}
}

// record takes what was read from the source.
func (b *recordedBody) record(p []byte, err error) (int, error) {
	r := b.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.srcErr = err
	}
	if !b.closed && int64(len(r.head)+len(p)) > r.limit {
		r.over, r.head, b.at = true, nil, 0
	}
	if !r.over {
		r.head = append(r.head, p...)
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
	return b.rec.unlockAndClose()
}
