package tollgate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"tollgate"
)

func Example() {
	client, err := tollgate.New(tollgate.Config{
		Address: "127.0.0.1:3001",
		Service: "3",
		Token:   "the service token",
		Away:    tollgate.Allow,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	decision, err := client.Authrep(context.Background(), tollgate.Call{
		App:   tollgate.App{UserKey: "the key that came with the call"},
		Usage: []tollgate.Usage{{Metric: "hits", Amount: 1}},
	})
	switch {
	case errors.Is(err, tollgate.StatusUserKeyInvalid):
		fmt.Println("nobody has that key")
	case err != nil:
		fmt.Println(err)
	case !decision.Allowed:
		fmt.Println(decision.Reason, "again after", decision.RetryAfter)
	default:
		fmt.Println("go on;", decision.Remaining, "such calls are left")
	}
}

func ExampleLimit() {
	client, err := tollgate.New(tollgate.Config{Address: "unix:/run/tollgate/socket", Service: "3"})
	if err != nil {
		log.Fatal(err)
	}
	limited := tollgate.Limit(client, tollgate.HeaderKey("X-API-Key"), tollgate.Usage{Metric: "hits", Amount: 1})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", limited(handler)))
}

func ExampleClient_Reserve() {
	var client *tollgate.Client // made with New
	ctx := context.Background()
	held, err := client.Reserve(ctx, tollgate.Call{
		App:   tollgate.App{UserKey: "k"},
		Usage: []tollgate.Usage{{Metric: "tokens", Amount: 4000}}, // the most it can cost
	}, time.Minute)
	if err != nil || !held.Allowed {
		return
	}
	// Do the work, and learn what it cost.
	if _, err := held.Commit(ctx, tollgate.Usage{Metric: "tokens", Amount: 1234}); err != nil {
		log.Print(err)
	}
}
