// Package client is a client of the Docs API:
//
//	docs := client.New("sk_test_demo", nil)
//	created, err := docs.Resources.Create(ctx, client.ResourceParams{Name: "first"})
//	if errors.Is(err, apierror.CodeParameterMissing) {
//		e, _ := errors.AsType[*apierror.Error](err)
//		log.Print("missing: ", e.Param())
//	}
//	for resource, err := range docs.Resources.All(ctx) {
//		...
//	}
//
// An error response is returned as an *apierror.Error, which errors.Is matches by its code and by
// its type. If there was no response, the error is a *retry.Error.
//
// # Retries
//
// A call has up to three attempts: see package retry. Each write has an Idempotency-Key, which is
// the same in all its attempts, so a retry never does the work twice. If you call a method again
// after it has failed, that is a new write. To continue the failed one, give both calls the same
// key:
//
//	ctx = retry.WithIdempotencyKey(ctx, "order-4711")
//
// So do not wrap the methods in another retry loop without such a key.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

// DefaultBaseURL is the address of a service that was started without flags.
const DefaultBaseURL = "http://localhost:8080"

// Options are the options of New. The zero value is the default.
type Options struct {
	// BaseURL is the address of the service, and may have a path. If empty, it is DefaultBaseURL.
	BaseURL string

	// Transport sends and retries the requests. If nil, it is a new one, whose attempts wait 30
	// seconds for a response.
	Transport *retry.Transport
}

// Client calls the Docs API. It is safe for concurrent use. Make one and share it, because its
// retry budget and its circuit breaker only work if they see all calls.
type Client struct {
	// Resources has the calls of /v1/resources.
	Resources Resources
}

// New returns a client that authenticates with an API key. If o is nil, the defaults apply.
func New(apiKey string, o *Options) *Client {
	if o == nil {
		o = &Options{}
	}
	c := &caller{baseURL: strings.TrimSuffix(o.BaseURL, "/"), apiKey: apiKey}
	if c.baseURL == "" {
		c.baseURL = DefaultBaseURL
	}
	c.http.Transport = o.Transport
	if o.Transport == nil {
		c.http.Transport = &retry.Transport{Policy: &retry.Policy{AttemptTimeout: 30 * time.Second}}
	}
	return &Client{Resources{c}}
}

// Resource is what the service keeps.
type Resource struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata"`
}

// ResourceParams are what a client sets. In an update, what is empty does not change.
type ResourceParams struct {
	// Name has 1 to 100 characters. It is required in a new resource.
	Name string `json:"name,omitempty"`

	// Metadata has up to 50 entries. If it is not nil, an update replaces all entries.
	Metadata map[string]string `json:"metadata,omitzero"`
}

// Page is a part of the list of resources.
type Page struct {
	Data []Resource `json:"data"`

	// NextCursor is the cursor of the next page. It is empty on the last page.
	NextCursor string `json:"next_cursor"`
}

// Resources has the calls of /v1/resources.
type Resources struct{ caller *caller }

// Create makes a resource.
func (r Resources) Create(ctx context.Context, p ResourceParams) (created Resource, err error) {
	err = r.caller.call(ctx, http.MethodPost, "/v1/resources", p, &created)
	return created, err
}

// Get returns a resource.
func (r Resources) Get(ctx context.Context, id string) (found Resource, err error) {
	err = r.caller.callOne(ctx, http.MethodGet, id, nil, &found)
	return found, err
}

// Update changes a resource and returns it.
func (r Resources) Update(ctx context.Context, id string, p ResourceParams) (updated Resource, err error) {
	err = r.caller.callOne(ctx, http.MethodPatch, id, p, &updated)
	return updated, err
}

// Delete removes a resource.
func (r Resources) Delete(ctx context.Context, id string) error {
	return r.caller.callOne(ctx, http.MethodDelete, id, nil, &struct{}{})
}

// List returns a page of resources, in the order in which they were created. An empty cursor
// selects the first page. limit is the number of resources on a page, from 1 to 100. If it is zero,
// the service chooses it.
func (r Resources) List(ctx context.Context, cursor string, limit int) (page Page, err error) {
	list := url.URL{Path: "/v1/resources"}
	query := make(url.Values)
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	list.RawQuery = query.Encode()
	err = r.caller.call(ctx, http.MethodGet, list.String(), nil, &page)
	return page, err
}

// All iterates over all resources. It requests a page when it needs one. After an error, which
// comes with an empty Resource, the iteration ends.
func (r Resources) All(ctx context.Context) iter.Seq2[Resource, error] {
	return func(yield func(Resource, error) bool) {
		for cursor := ""; ; {
			page, err := r.List(ctx, cursor, 100)
			if err != nil {
				yield(Resource{}, err)
				return
			}
			for _, resource := range page.Data {
				if !yield(resource, nil) {
					return
				}
			}
			if page.NextCursor == "" {
				return
			}
			cursor = page.NextCursor
		}
	}
}

// caller sends requests.
type caller struct {
	baseURL, apiKey string
	http            http.Client
}

// callOne calls the path of one resource.
func (c *caller) callOne(ctx context.Context, method, id string, in, out any) error {
	if id == "" || id == "." || id == ".." { // the path of something else
		return fmt.Errorf("docs API: %q is not the id of a resource", id)
	}
	return c.call(ctx, method, "/v1/resources/"+url.PathEscape(id), in, out)
}

// call sends in as JSON, unless it is nil, and reads the response into out.
func (c *caller) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b) // a retry can read it again
	}
	req, err := http.NewRequestWithContext(ctx, method, c.baseURL+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.apiKey)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := apierror.Parse(resp); err != nil {
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("docs API: the response of %s %s (request %s): %w", method, path, resp.Header.Get("Request-Id"), err)
	}
	return nil
}
