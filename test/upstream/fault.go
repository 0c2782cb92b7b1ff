package upstream

// FaultName says what goes wrong.
type FaultName string

// What may happen to the webhooks of a prediction.
const (
	FaultWebhookLost   FaultName = "webhook_lost"   // never sent
	FaultWebhookTwice  FaultName = "webhook_twice"  // each sent two times, with the same id
	FaultWebhookForged FaultName = "webhook_forged" // signed with another secret
	FaultWebhookStale  FaultName = "webhook_stale"  // signed for a time 10 minutes ago
)
