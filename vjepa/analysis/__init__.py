"""What a trained model knows: probes, maps, surprise."""
