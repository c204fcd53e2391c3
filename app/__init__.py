"""The Streamlit app: `streamlit run app/main.py`. Holds no model maths."""
