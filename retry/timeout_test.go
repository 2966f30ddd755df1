package retry_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestAttemptTimeoutEndsOneAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if n++; n < 3 {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answer(200, "slow body"), nil
		}))
		tr.Policy = &retry.Policy{AttemptTimeout: time.Second, BaseDelay: -1}
		start := time.Now()

		resp, err := tr.RoundTrip(request(t, "GET", target, nil))

		require.NoError(t, err)
		require.Equal(t, 2*time.Second, time.Since(start))
		time.Sleep(time.Minute) // reading the body has no timeout
		b := make([]byte, 100)
		k, _ := resp.Body.Read(b)
		require.Equal(t, "slow body", string(b[:k]))
		resp.Body.Close()

		n = -100
		_, err = tr.RoundTrip(request(t, "GET", target, nil))
		timeout, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err)
		require.True(t, ok && timeout.Timeout())
		require.NotErrorIs(t, err, context.Canceled)
	})
}

func TestResponseThatComesWithTheTimeoutIsNotReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		given := answer(200, "dying")
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return given, nil
		}))
		tr.Policy = &retry.Policy{MaxAttempts: 1, AttemptTimeout: time.Second}

		resp, err := tr.RoundTrip(request(t, "GET", target, nil))

		require.Nil(t, resp)
		require.EqualError(t, err, "retry: GET api.example: attempts-exhausted (attempt 1): no response within 1s")
		require.Equal(t, 1, given.Body.(*body).closed())
	})
}

func TestContextOfAnAttemptEndsWithTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var during context.Context
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			during = r.Context()
			return answer(200, "x"), nil
		}))
		tr.Policy = &retry.Policy{AttemptTimeout: time.Second}
		resp, err := tr.RoundTrip(request(t, "GET", target, nil))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.NoError(t, during.Err())
		resp.Body.Close()
		require.ErrorIs(t, during.Err(), context.Canceled)
	})
}

// halfCloser is a connection with a CloseWrite.
type halfCloser struct {
	net.Conn
	ended bool
}

func (c *halfCloser) CloseWrite() error {
	c.ended = true
	return nil
}

func TestProtocolSwitchWithATimeoutHasCloseWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, peer := net.Pipe()
		defer peer.Close()
		half := &halfCloser{Conn: conn}
		for body, want := range map[io.ReadCloser]error{half: nil, conn: http.ErrNotSupported} {
			tr := transport(baseFunc(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 101, Body: body}, nil
			}))
			tr.Policy = &retry.Policy{AttemptTimeout: time.Second}
			resp, err := tr.RoundTrip(request(t, "GET", target, nil))
			require.NoError(t, err)
			closer, ok := resp.Body.(interface{ CloseWrite() error })
			require.True(t, ok)
			require.ErrorIs(t, closer.CloseWrite(), want)
			resp.Body.Close()
		}
		require.True(t, half.ended)
	})
}
