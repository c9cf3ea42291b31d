"""An S3 server that keeps nothing: it takes what is sent as fast as the kernel hands it over.

It answers what rclone, boto3 and Headrace ask of a bucket, so a transfer into it costs what the
client costs. In its verifying mode, which no time is measured in, it hashes what arrives.
"""
