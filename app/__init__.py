"""The Streamlit app: `streamlit run app/main.py`. Holds no model maths."""

import os

# OpenMP reads this once, when torch is loaded, so it has to be said before. Threads that have
# nothing to do otherwise turn in circles for a while: with several visitors that took 80 % of the
# processors' time, from the threads that had.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
