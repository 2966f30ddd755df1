package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// payments is the client of the provider.
type payments struct {
	url    string
	client *http.Client
}

func newPayments(url string) *payments {
	return &payments{url: url, client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}}}
}

// errSettled means that the payment was settled without a charge, so there will be none.
var errSettled = errors.New("the payment was settled without a charge")

// charge charges, with an idempotency key unless it is empty.
func (p *payments) charge(ctx context.Context, c charge, idempotencyKey string) (receipt history.Answer, err error) {
	status, err := p.post(ctx, "/charge", idempotencyKey, c, &receipt)
	switch {
	case err != nil:
		return receipt, codeProviderFailed.New().WithCause(err)
	case status == http.StatusConflict:
		return receipt, errSettled
	case receipt.Amount != c.Amount: // another charge under the same idempotency key
		return receipt, codeProviderConflict
	}
	return receipt, nil
}

// settle finds out about a payment. If there is no charge, there will be none.
func (p *payments) settle(ctx context.Context, x payment) (s settlement, err error) {
	if _, err := p.post(ctx, "/settle", "", charge{Key: x.key, Amount: x.amount}, &s); err != nil {
		return s, codeProviderFailed.New().WithCause(err)
	}
	return s, nil
}

func (p *payments) post(ctx context.Context, path, idempotencyKey string, body, answer any) (status int, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", idempotencyKey)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return 0, err
	case resp.StatusCode == http.StatusConflict:
		return resp.StatusCode, nil
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("the provider has answered %s", resp.Status)
	}
	return resp.StatusCode, json.Unmarshal(b, answer)
}

func (p *payments) close() { p.client.CloseIdleConnections() }

// CodeProviderConflict is the code of a recorded 409: the provider has made another charge under
// the same DerivedKey. The server had lost the record of that charge.
const CodeProviderConflict apierror.Code = "provider_conflict"

// The codes of the service.
var (
	codeProviderFailed = apierror.Definition{
		Code: "provider_failed", Type: apierror.TypeAPI, Status: http.StatusBadGateway,
		Message: "The payment provider has failed.",
	}
	codeProviderConflict = apierror.Definition{
		Code: CodeProviderConflict, Type: apierror.TypeIdempotency, Status: http.StatusConflict,
		Message: "The provider has made another charge under this key.",
	}
	codeNothingDone = apierror.Definition{
		Code: "nothing_done", Type: apierror.TypeInvalidRequest, Status: http.StatusConflict,
		Message: "Nothing was done. Try again.",
	}
	codeNotUnknown = apierror.Definition{
		Code: "not_unknown", Type: apierror.TypeInvalidRequest, Status: http.StatusConflict,
		Message: "The outcome of this key is not unknown.",
	}
	catalog = apierror.MustCatalog(codeProviderFailed, codeProviderConflict, codeNothingDone, codeNotUnknown)
)
