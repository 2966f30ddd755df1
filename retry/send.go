package retry

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// next returns the request of the next attempt. It is the caller's own request if it can
// be sent unchanged, so a read is not copied.
func (c *call) next() *http.Request {
	body := c.body.next()
	if c.key.add == "" && body == nil {
		return c.req
	}
	req := new(http.Request)
	*req = *c.req
	if body != nil {
		req.Body, req.GetBody = body, c.body.getBody()
	}
	if c.key.add != "" {
		req.Header = maps.Clone(c.req.Header)
		if req.Header == nil {
			req.Header = make(http.Header)
		}
		req.Header[keyHeader] = []string{c.key.add}
	}
	return req
}

// send calls Base with AttemptTimeout. It sets the response's Request to req, since
// redirectedKey looks for the key there when http.Client follows a redirect.
func (c *call) send(req *http.Request) (*http.Response, error) {
	sent := req
	resp, err := respond(c.who, c.policy.AttemptTimeout, func(ctx context.Context) (*http.Response, error) {
		if c.connected != nil {
			ctx = traced(ctx, c.connected)
		}
		if ctx != c.who.ctx {
			sent = req.WithContext(ctx)
		}
		return c.t.base().RoundTrip(sent)
	})
	resp, err = checked(resp, err)
	if resp != nil && (resp.Request == nil || resp.Request == sent) {
		resp.Request = req
	}
	return resp, err
}

// traced returns a context that sets connected when its request gets a connection.
func traced(ctx context.Context, connected *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
}

var errNoAnswer = errors.New("retry: the base transport returned neither a response nor an error")

// checked corrects the results of a base transport that breaks the contract of
// http.RoundTripper.
func checked(resp *http.Response, err error) (*http.Response, error) {
	switch {
	case err != nil && resp != nil:
		if resp.Body != nil {
			resp.Body.Close()
		}
		return nil, err
	case err == nil && resp == nil:
		return nil, errNoAnswer
	case resp != nil && resp.Body == nil:
		resp.Body = http.NoBody
	}
	return resp, err
}
