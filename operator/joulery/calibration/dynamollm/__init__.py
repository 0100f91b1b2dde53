"""The DynamoLLM half of the calibration: a serving model held to the published tables and Fig. 3."""
