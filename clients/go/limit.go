package tollgate

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"tollgate/wire"
)

// KeyFunc tells whose call a request is; false if it names nobody.
type KeyFunc func(*http.Request) (App, bool)

// Limit is middleware that lets a request pass if its application may make it, and counts the usage given (Authrep).
//
// A request that names nobody, an application that there is not (or that is too long to be one), and a denial for other
// reasons than limits are answered 403; a denial because of limits 429, with Retry-After in seconds (rounded up) unless
// waiting does not help; 503 if the node is away and Config.Away does not allow; 500 if the node does not accept what
// the gateway asks (a metric that there is not, say). Where a limit concerns the call, RateLimit-Limit,
// RateLimit-Remaining (calls like this one) and RateLimit-Reset (seconds) are set. Bodies are a short text.
//
//	limited := tollgate.Limit(client, tollgate.HeaderKey("X-API-Key"), tollgate.Usage{Metric: "hits", Amount: 1})
//	http.ListenAndServe(":8080", limited(handler))
func Limit(client *Client, key KeyFunc, usage ...Usage) func(http.Handler) http.Handler {
	return LimitFunc(client, func(r *http.Request) (Call, bool) {
		app, ok := key(r)
		return Call{App: app, Usage: usage}, ok
	})
}

// HeaderKey takes the application's user key from a header of the request.
func HeaderKey(name string) KeyFunc {
	return func(r *http.Request) (App, bool) {
		key := r.Header.Get(name)
		return App{UserKey: key}, key != ""
	}
}

// LimitFunc is Limit for who wants to say more of the call than its application: usage that depends on the request, a
// referrer.
func LimitFunc(client *Client, call func(*http.Request) (Call, bool)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked, ok := call(r)
			if !ok {
				refuse(w, http.StatusForbidden, "credentials are missing")
				return
			}
			decision, err := client.Authrep(r.Context(), asked)
			if err != nil && !errors.Is(err, StatusNotDurable) { // that one is counted, so it is a yes
				refuseFor(w, err)
				return
			}
			tellLimit(w.Header(), &decision)
			if !decision.Allowed {
				deny(w, &decision)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// tellLimit sets the header fields about the binding limit.
func tellLimit(h http.Header, d *Decision) {
	if !d.Limited {
		return
	}
	h.Set("RateLimit-Limit", strconv.FormatUint(d.Max, 10))
	h.Set("RateLimit-Remaining", strconv.FormatUint(d.Remaining, 10))
	if d.Reset != Never {
		h.Set("RateLimit-Reset", wholeSeconds(d.Reset))
	}
}

func deny(w http.ResponseWriter, d *Decision) {
	switch {
	case d.Policy:
		refuse(w, http.StatusServiceUnavailable, "the call could not be checked")
	case d.Reason == LimitsExceeded:
		if d.RetryAfter != Never {
			w.Header().Set("Retry-After", wholeSeconds(d.RetryAfter))
		}
		refuse(w, http.StatusTooManyRequests, d.Reason.String())
	default:
		refuse(w, http.StatusForbidden, d.Reason.String())
	}
}

// refuseFor answers a request on which there is no decision.
func refuseFor(w http.ResponseWriter, err error) {
	if errors.Is(err, ErrTooLarge) || errors.Is(err, wire.ErrTextTooLong) {
		refuse(w, http.StatusForbidden, "credentials are not valid")
		return
	}
	var status *StatusError
	if !errors.As(err, &status) || nodeIsAway(err) || errors.Is(err, ErrUnavailable) {
		if status != nil && status.RetryAfter > 0 {
			w.Header().Set("Retry-After", wholeSeconds(status.RetryAfter))
		}
		refuse(w, http.StatusServiceUnavailable, "the call could not be checked")
		return
	}
	switch status.Status {
	case StatusUserKeyInvalid, StatusApplicationNotFound, StatusAuthenticationError, StatusNotValidData:
		refuse(w, http.StatusForbidden, "credentials are not valid")
	default:
		code := http.StatusInternalServerError
		if status.Status.Class() == wire.ClassNode {
			code = http.StatusServiceUnavailable
		}
		refuse(w, code, "the call could not be checked")
	}
}

func refuse(w http.ResponseWriter, code int, text string) {
	http.Error(w, text, code)
}

// wholeSeconds rounds up, so that who waits so long does not come too early.
func wholeSeconds(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return strconv.FormatInt(int64((d-1)/time.Second)+1, 10)
}
