package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/webhooks"
	"github.com/stripe/stripe-go/v85"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

// sdk is an SDK of another project.
type sdk struct {
	name string // in docs/RECIPES.md

	// policy is the one that docs/RECIPES.md recommends.
	policy retry.Policy

	// client returns the calls of a client for the server at url. If recommended is true, the
	// client has the settings of docs/RECIPES.md. Otherwise it has the SDK's defaults.
	client func(url string, c *http.Client, recommended bool) calls

	// once is client without the retries of the SDK, for an SDK that should keep them.
	once func(url string, c *http.Client, _ bool) calls

	// fail answers with an error, in the form of the SDK's servers.
	fail func(w http.ResponseWriter, r *http.Request, status int)

	// describe returns what an error of the SDK says.
	describe func(error) (status int, code, requestID string)
}

// calls are a call that changes nothing, and one that does.
type calls struct{ read, write func(context.Context) error }

var sdks = []sdk{
	{
		name:   "stripe-go v85",
		client: stripeCalls,
		fail:   errorObject,
		describe: func(err error) (int, string, string) {
			e, _ := errors.AsType[*stripe.Error](err)
			return e.HTTPStatusCode, string(e.Code), e.RequestID
		},
	},
	{
		name:   "openai-go v3",
		policy: retry.Policy{Keys: retry.KeysCallerOnly},
		client: openaiCalls,
		fail:   errorObject,
		describe: func(err error) (int, string, string) {
			e, _ := errors.AsType[*webhooks.Error](err)
			return e.StatusCode, e.Code, e.Response.Header.Get("Request-Id")
		},
	},
	{
		name:   "connect 1.21",
		policy: retry.Policy{Keys: retry.KeysCallerOnly},
		client: connectCalls,
		fail: func(w http.ResponseWriter, _ *http.Request, status int) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Request-Id", "req_7")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code":%q}`, connectCode(status).String())
		},
		describe: func(err error) (int, string, string) {
			e, _ := errors.AsType[*connect.Error](err)
			return 0, e.Code().String(), e.Meta().Get("Request-Id")
		},
	},
	{
		name:   "aws-sdk-go-v2 (sqs)",
		policy: retry.Policy{Keys: retry.KeysCallerOnly, MaxAttempts: 1},
		client: sqsCalls(0),
		once:   sqsCalls(1),
		fail: func(w http.ResponseWriter, _ *http.Request, status int) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.Header().Set("X-Amzn-Requestid", "req_7")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"__type":"com.amazonaws.sqs#Failed_%d"}`, status)
		},
		describe: func(err error) (int, string, string) {
			response, _ := errors.AsType[*awshttp.ResponseError](err)
			api, _ := errors.AsType[smithy.APIError](err)
			return response.HTTPStatusCode(), api.ErrorCode(), response.ServiceRequestID()
		},
	},
	{
		name:   "minio-go v7",
		policy: retry.Policy{Keys: retry.KeysCallerOnly, MaxAttempts: 1},
		client: minioCalls(0),
		once:   minioCalls(1),
		fail: func(w http.ResponseWriter, _ *http.Request, status int) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			fmt.Fprintf(w, `<Error><Code>Failed_%d</Code><RequestId>req_7</RequestId></Error>`, status)
		},
		describe: func(err error) (int, string, string) {
			e := minio.ToErrorResponse(err)
			return e.StatusCode, e.Code, e.RequestID
		},
	},
	{
		name:   "go-retryablehttp 0.7",
		client: retryableCalls,
		fail:   errorObject,
		describe: func(err error) (int, string, string) {
			e, _ := errors.AsType[*apierror.Error](err)
			return e.Status(), string(e.Code()), e.RequestID()
		},
	},
}

// errorObject answers with an error object, as a service with Seawall does. It does not have
// X-Should-Retry, which some SDKs obey.
func errorObject(w http.ResponseWriter, _ *http.Request, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_7")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"type":"api_error","code":"failed_%d","message":"It failed.","request_id":"req_7"}}`, status)
}

func stripeCalls(url string, c *http.Client, recommended bool) calls {
	config := &stripe.BackendConfig{
		HTTPClient:    c,
		URL:           &url,
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	}
	if recommended {
		config.MaxNetworkRetries = stripe.Int64(0)
	}
	client := stripe.NewClient("sk_test", stripe.WithBackends(stripe.NewBackendsWithConfig(config)))
	return calls{
		read: func(ctx context.Context) error {
			_, err := client.V1Customers.Retrieve(ctx, "cus_7", nil)
			return err
		},
		write: func(ctx context.Context) error {
			_, err := client.V1Customers.Create(ctx, &stripe.CustomerCreateParams{Name: stripe.String("Ada")})
			return err
		},
	}
}

// openaiCalls uses one package of the SDK, because the whole SDK takes long to build. All packages
// send their requests in the same way.
func openaiCalls(url string, c *http.Client, recommended bool) calls {
	options := []option.RequestOption{option.WithBaseURL(url), option.WithAPIKey("sk_test"), option.WithHTTPClient(c)}
	if recommended {
		options = append(options, option.WithMaxRetries(0))
	}
	client := webhooks.NewWebhookService(options...)
	return calls{
		read: func(ctx context.Context) error {
			_, err := client.Get(ctx, "we_7")
			return err
		},
		write: func(ctx context.Context) error {
			_, err := client.New(ctx, webhooks.WebhookNewParams{Name: "Ada"})
			return err
		},
	}
}

// connectCalls has no settings to recommend. A read is a GET if it is marked as free of side
// effects.
func connectCalls(url string, c *http.Client, _ bool) calls {
	reader := connect.NewClient[emptypb.Empty, emptypb.Empty](c, url+"/service/Get",
		connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	writer := connect.NewClient[wrapperspb.StringValue, emptypb.Empty](c, url+"/service/Create")
	return calls{
		read: func(ctx context.Context) error {
			_, err := reader.CallUnary(ctx, connect.NewRequest(&emptypb.Empty{}))
			return err
		},
		write: func(ctx context.Context) error {
			_, err := writer.CallUnary(ctx, connect.NewRequest(wrapperspb.String("Ada")))
			return err
		},
	}
}

// connectCode returns the code that a connect server sends with a status.
func connectCode(status int) connect.Code {
	if status == http.StatusConflict {
		return connect.CodeAborted
	}
	return connect.CodeUnavailable
}

// awsKey is the key pair of the client.
var awsKey = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}

// sqsCalls returns calls with at most that many attempts of the SDK. 0 is its default.
func sqsCalls(attempts int) func(string, *http.Client, bool) calls {
	return func(url string, c *http.Client, _ bool) calls {
		client := sqs.NewFromConfig(aws.Config{
			BaseEndpoint:     &url,
			Region:           "us-east-1",
			Credentials:      aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return awsKey, nil }),
			HTTPClient:       c,
			RetryMaxAttempts: attempts,
		})
		return calls{
			read: func(ctx context.Context) error {
				_, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("orders")})
				return err
			},
			write: func(ctx context.Context) error {
				_, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("orders")})
				return err
			},
		}
	}
}

// minioCalls returns calls with at most that many attempts of the SDK. 0 is its default.
func minioCalls(attempts int) func(string, *http.Client, bool) calls {
	return func(url string, c *http.Client, _ bool) calls {
		client, err := minio.New(strings.TrimPrefix(url, "http://"), &minio.Options{
			Creds:      credentials.NewStaticV4(awsKey.AccessKeyID, awsKey.SecretAccessKey, ""),
			Region:     "us-east-1", // otherwise the SDK asks for it first
			Transport:  c.Transport,
			MaxRetries: attempts,
		})
		if err != nil {
			panic(err)
		}
		return calls{
			read: func(ctx context.Context) error {
				_, err := client.ListBuckets(ctx)
				return err
			},
			write: func(ctx context.Context) error {
				_, err := client.PutObject(ctx, "bucket", "name", strings.NewReader("Ada"), 3, minio.PutObjectOptions{})
				return err
			},
		}
	}
}

func retryableCalls(url string, c *http.Client, recommended bool) calls {
	client := retryablehttp.NewClient()
	client.HTTPClient = c
	client.Logger = nil
	if recommended {
		client.RetryMax = 0
		client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	}
	call := func(ctx context.Context, method string, body any, key string) error {
		req, err := retryablehttp.NewRequestWithContext(ctx, method, url, body)
		if err != nil {
			return err
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return apierror.Parse(resp)
	}
	key := ""
	if recommended {
		key = "order-7"
	}
	return calls{
		read: func(ctx context.Context) error { return call(ctx, http.MethodGet, nil, "") },
		write: func(ctx context.Context) error {
			return call(ctx, http.MethodPost, io.Reader(strings.NewReader("Ada")), key)
		},
	}
}
